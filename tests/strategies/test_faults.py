"""Whatever is lost, repeated, late or damaged: g = sum_i w_i g_i, and an unheard client is one that was not asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st
from torch import Tensor

from clients import METHODS
from fl_ef21 import blocks, randomness, records
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind
from fl_ef21.engine.shard import computing_with
from fl_ef21.messages import whole
from fl_ef21.state import Rows
from fl_ef21.store import Files, Memory
from scenarios.setup import Setup, prepare
from strategies import SERVERS
from strategies.adding import Added, Adder
from strategies.flower import CompressedStrategy
from strategies.ledger import Ledger
from strategies.rounds import Heard, Round, Silence
from tests.faulty_grid import FAULTS, LOSSES, Expected, Fault, FaultyGrid, Turn
from tests.small import scenario

N, ROUNDS = 5, 6
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
TOPK, RANDK = {"compressor": "topk", "k": 2}, {"compressor": "randk", "k": 2}
REMEMBERING: list[dict[str, Any]] = [
    {"name": "ef21-sgdm", "eta": 0.3} | TOPK,
    {"name": "ef21-sgd2m", "eta": 0.3, "scaled": False} | RANDK,
    {"name": "ef21-sgd", "compressor": "identity"},
]
FORGETTING: list[dict[str, Any]] = [
    {"name": "ef14"} | TOPK,
    {"name": "compressed-sgd"} | RANDK,
    {"name": "sgdm", "eta": 0.3},
]
NOBODY_FAILS = (Turn((Fault(),) * N),) * ROUNDS

methods = pytest.mark.parametrize("method", [*REMEMBERING, *FORGETTING], ids=lambda m: m["name"])
remembering = pytest.mark.parametrize("method", REMEMBERING, ids=lambda m: m["name"])


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Vectors this short are not worth waking a second one for."""
    with computing_with(1):
        yield


def schedules(kinds: tuple[str, ...] = FAULTS) -> st.SearchStrategy[tuple[Turn, ...]]:
    """Half of the messages pass."""
    where = st.integers(0, 2**12)
    fault = st.one_of(st.just(Fault()), st.builds(Fault, st.sampled_from(kinds), where))
    turn = st.builds(Turn, st.tuples(*[fault] * N), where)
    return st.tuples(*[turn] * ROUNDS)


def tried(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None)


def quadratic(method: dict[str, Any], dtype: str = "float32", start: str = "gradient") -> Setup:
    return prepare(
        scenario(
            method=[method | {"gamma": 0.1}], model={"name": "quadratic", "dim": 6, "bias": None},
            partition={"clients": N, "scheme": "iid"}, train={"participation": 0.6, "dtype": dtype, "start": start},
        )
    )  # fmt: skip


PLAIN = quadratic(REMEMBERING[0])


def grid_of(setup: Setup, turns: tuple[Turn, ...]) -> FaultyGrid:
    store = Memory(range(N))
    return FaultyGrid(N, lambda: setup.program(range(N), store), turns)


def train(strategy: CompressedStrategy, grid: FaultyGrid) -> Iterator[Round]:
    """The rounds as Flower drives them; one in which nobody is heard is followed by the next."""
    arrays = records.pack_model(strategy.descent.x)
    for number in range(1, ROUNDS + 1):
        messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)  # type: ignore[arg-type]
        arrays, _ = strategy.aggregate_train(number, grid.send_and_receive(messages))
        yield strategy.last


def trained(setup: Setup, grid: FaultyGrid) -> tuple[CompressedStrategy, list[Round]]:
    strategy = setup.strategy(0, b"run")
    return strategy, list(train(strategy, grid))


@remembering
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_g_is_the_sum_of_what_the_clients_hold_after_every_round(method: dict[str, Any], dtype: str) -> None:
    setup = quadratic(method, dtype)

    @tried(15)
    @given(turns=schedules())
    def holds(turns: tuple[Turn, ...]) -> None:
        grid, strategy = grid_of(setup, turns), setup.strategy(0, b"run")
        for _ in train(strategy, grid):
            error = strategy.audit(grid)
            assert error is not None and error <= TOLERANCE[dtype]

    holds()


@remembering
def test_g_is_that_sum_after_rounds_that_nobody_audited(method: dict[str, Any]) -> None:
    setup = quadratic(method, "float64")

    @tried(15)
    @given(turns=schedules())
    def holds(turns: tuple[Turn, ...]) -> None:
        grid = grid_of(setup, turns)
        strategy, _ = trained(setup, grid)
        error = strategy.audit(grid)
        assert error is not None and error <= TOLERANCE["float64"]

    holds()


@methods
def test_every_reply_that_is_not_used_is_counted_under_its_reason(method: dict[str, Any]) -> None:
    setup = quadratic(method)

    @tried(15)
    @given(turns=schedules())
    def counts(turns: tuple[Turn, ...]) -> None:
        grid = grid_of(setup, turns)
        _, rounds = trained(setup, grid)
        got = [(done.invited, done.participants, done.refused) for done in rounds]
        assert got == [(len(e.asked), len(e.heard), e.refused) for e in grid.expected]

    counts()


def reference(setup: Setup, rounds: list[Expected]) -> Tensor:
    """x after these rounds of the method's equations, for the clients that were heard and no others."""
    plan, problem = setup.plans[0], setup.problem
    kind = METHODS[plan.method]
    server, begins = SERVERS[kind.server], kind.dense_start and plan.start == "gradient"
    x, fresh = problem.x0(), set(range(N) if begins else ())
    start = plan.half(kind, 1).start(torch.zeros(N, problem.dim, dtype=x.dtype))
    rows = {name: value.clone() for name, value in vars(start).items()}
    at_server = plan.half(server, 1).start(torch.zeros(problem.dim, dtype=torch.float64))
    for number, round in enumerate(rounds, 1):
        if not round.heard:
            continue
        half, total = plan.half(kind, number), torch.zeros(problem.dim, dtype=torch.float64)
        weights = problem.weights * (1 if server.remembers else N / len(round.asked))
        for first in (True, False):
            ids = torch.tensor([i for i in round.heard if (i in fresh) == first], dtype=torch.int64)
            q = problem.gradients(x, ids, number)
            if first:
                s, c = half.start(q), whole(q)
            elif len(ids):
                keys = randomness.keys(plan.seed, "compressor", ids, number)
                old = type(start)(**{name: value[ids] for name, value in rows.items()})
                s, c = half.step(old, q, partial(plan.compressor, keys=keys))
            else:
                continue
            for name, value in rows.items():
                value[ids] = getattr(s, name)
            total += c.total(weights[ids])
        fresh -= set(round.heard)
        at_server = plan.half(server, number).step(at_server, total)
        x = x.add(at_server.g.to(x.dtype), alpha=-plan.gamma(number))
    return x


@methods
@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_a_client_whose_message_is_lost_is_as_one_that_was_not_asked(method: dict[str, Any], start: str) -> None:
    setup = quadratic(method, start=start)

    @tried(6)
    @given(turns=schedules(LOSSES))
    def agrees(turns: tuple[Turn, ...]) -> None:
        grid = grid_of(setup, turns)
        strategy, _ = trained(setup, grid)
        assert torch.equal(strategy.descent.x, reference(setup, grid.expected))

    agrees()


@methods
def test_so_is_one_whose_message_is_late_repeated_or_damaged(method: dict[str, Any]) -> None:
    setup = quadratic(method, "float64")

    @tried(12)
    @given(turns=schedules())
    def agrees(turns: tuple[Turn, ...]) -> None:
        grid = grid_of(setup, turns)
        strategy, _ = trained(setup, grid)
        # a refused message is a row of zeros in the sum over clients, which may then be rounded in another order
        assert torch.allclose(strategy.descent.x, reference(setup, grid.expected), rtol=0, atol=1e-12)

    agrees()


@tried(12)
@given(turns=schedules())
def test_only_a_round_without_a_usable_reply_ends_training(turns: tuple[Turn, ...]) -> None:
    grid, strategy = grid_of(PLAIN, turns), PLAIN.strategy(0, b"run")
    silent = False
    try:
        for _ in strategy.rounds(grid, ROUNDS):  # type: ignore[arg-type]
            pass
    except Silence:
        silent = True
    heard = [bool(e.heard) for e in grid.expected]
    assert silent is (not heard[-1]) and all(heard[:-1]) and (silent or len(heard) == ROUNDS)


@pytest.mark.parametrize("method", [REMEMBERING[0], FORGETTING[0]], ids=lambda m: m["name"])
def test_state_in_files_survives_a_restart_between_any_two_messages(method: dict[str, Any]) -> None:
    setup = quadratic(method)

    @tried(12)
    @given(turns=schedules())
    def survives(turns: tuple[Turn, ...]) -> None:
        before = grid_of(setup, turns)
        resident, rounds = trained(setup, before)
        with TemporaryDirectory() as folder:
            grid = FaultyGrid(N, lambda: setup.program(range(N), Files(Path(folder))), turns)
            restarted, again = trained(setup, grid)
            assert again == rounds and torch.equal(restarted.descent.x, resident.descent.x)
            assert restarted.audit(grid) == resident.audit(before)

    survives()


def test_a_hello_may_come_twice_but_not_from_two_nodes() -> None:
    grid, strategy = grid_of(PLAIN, ()), PLAIN.strategy(0, b"run")
    send = grid.send_and_receive
    grid.send_and_receive = lambda messages, *, timeout=None: 2 * send(messages)  # type: ignore[method-assign]
    strategy.nodes.enrol(grid)  # type: ignore[arg-type]
    assert strategy.nodes.of == {i: i + 1 for i in range(N)}
    grid.get_node_ids = lambda: [1, N + 1]  # type: ignore[method-assign]
    with pytest.raises(Silence, match="both say they are client 0"):
        PLAIN.strategy(0, b"run").nodes.enrol(grid)  # type: ignore[arg-type]


@tried(15)
@example(order=[0, 2, 1, 3])
@example(order=[0, 2, 2, 3])
@given(order=st.lists(st.integers(0, N - 1), min_size=1, max_size=2 * N))
def test_a_tile_answers_in_any_order_and_asked_twice_as_its_clients_do_alone(order: list[int]) -> None:
    ledger, x = Ledger(bytes(16), PLAIN.source, 0, N), PLAIN.problem.x0()
    together, alone = (PLAIN.program(range(N), Memory(range(N))) for _ in range(2))
    for number, clients in enumerate((list(range(N)), order, list(range(N))), 1):
        blocks = {i: ledger.instruct(Kind.TRAIN, np.array([i]), number)[0] for i in clients}
        answers = together.answer(x, clients, [blocks[i] for i in clients])
        assert answers == [alone.answer(x, [i], [blocks[i]])[0] for i in clients]
        for i, (_, payload) in dict(zip(clients, answers, strict=True)).items():
            ledger.commit(np.array([i]), [payload])


def client_commits_when_it_sends(patch: pytest.MonkeyPatch) -> None:
    stage, settle = Rows.stage, Rows.settle

    def commit(self: Rows, rows: Array, version: Array, chain: Array) -> None:
        stage(self, rows, version, chain)
        settle(self, rows, version, chain)

    patch.setattr(Rows, "stage", commit)
    patch.setattr(Rows, "settle", lambda self, rows, version, chain: np.ones(len(rows), bool))


def server_takes_whatever_comes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ledger, "accept", lambda self, packed: blocks.parse(packed))


def server_believes_it_holds_what_it_refused(patch: pytest.MonkeyPatch) -> None:
    add_up = Adder.add

    def believe(self: Adder, heard: Heard, scale: float) -> Added:
        return replace(add_up(self, heard, scale), used=heard)

    patch.setattr(Adder, "add", believe)


def client_follows_old_instructions(patch: pytest.MonkeyPatch) -> None:
    settle = Rows.settle

    def forget(self: Rows, rows: Array, version: Array, chain: Array) -> Array:
        self.seen[:] = 0
        return settle(self, rows, version, chain)

    patch.setattr(Rows, "settle", forget)


MUTANTS = [
    client_commits_when_it_sends, server_takes_whatever_comes, server_believes_it_holds_what_it_refused,
    client_follows_old_instructions,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.__name__)
def test_the_audit_finds_a_broken_protocol_once_something_fails(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)

    def caught(turns: tuple[Turn, ...]) -> bool:
        grid = grid_of(PLAIN, turns)
        strategy, _ = trained(PLAIN, grid)
        error = strategy.audit(grid)  # None where a client lacks what the server believes in
        return error is None or error > TOLERANCE["float32"]

    assert not caught(NOBODY_FAILS)
    kinds = tuple(kind for kind in FAULTS if kind != "flip block")  # which the second mutant cannot stand
    once = settings(max_examples=200, deadline=None, phases=[Phase.generate], database=None)
    find(schedules(kinds), caught, settings=once, random=Random(0))
