"""EF21-P: what clients hold is the server's w, whatever is lost, and nobody is sent more bytes than needed."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, Message
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

import scenarios
from clients.flower import client_app
from fl_ef21 import records
from fl_ef21.commit import Point
from fl_ef21.compressors.topk import TopK
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.shard import computing_with
from fl_ef21.errors import InputError
from fl_ef21.store import Files, Memory
from scenarios.runner import flower_loader
from scenarios.setup import Setup, prepare
from strategies.downlink import WHOLE, Sent
from strategies.ef21_p import EF21P, State
from strategies.flower import CompressedStrategy
from strategies.increments import Shifted
from strategies.rounds import Round
from tests.faulty_grid import FAULTS, Fault, FaultyGrid, Turn
from tests.small import ALL_METHODS, scenario

N, D, ROUNDS = 5, 40, 6
DRAWN = [Phase.generate]  # a failing schedule is told as drawn: to shrink it takes minutes
FIRST = {"name": "ef21-sgdm", "eta": 0.3, "compressor": "topk", "k": 2}
MEMORYLESS = {"name": "compressed-sgd", "compressor": "topk", "k": 5}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def quadratic(downlink: str | None, method: dict[str, Any] = FIRST, participation: float = 0.6, **train: Any) -> Setup:
    return prepare(
        scenario(
            method=[method | {"gamma": 0.1, "downlink": downlink}], partition={"clients": N, "scheme": "iid"},
            model={"name": "quadratic", "dim": D, "bias": None}, train={"participation": participation} | train,
        )
    )  # fmt: skip


def rounds(strategy: CompressedStrategy, grid: Any, count: int) -> Iterator[Round]:
    arrays = records.pack_model(strategy.descent.x)
    for number in range(1, count + 1):
        messages = strategy.configure_train(number, arrays, ConfigRecord(), grid)
        arrays, _ = strategy.aggregate_train(number, grid.send_and_receive(messages))
        yield strategy.last


def resident(setup: Setup, turns: tuple[Turn, ...] = ()) -> tuple[FaultyGrid, Memory]:
    store = Memory(range(setup.problem.clients))
    return FaultyGrid(setup.problem.clients, lambda: setup.program(store.clients, store), turns), store


def models_of(strategy: CompressedStrategy, store: Memory | Files) -> Any:
    return store.models(strategy.ledger._asked["experiment"][0].tobytes())


def shifted(strategy: CompressedStrategy) -> Shifted:
    assert isinstance(strategy.downlink, Shifted)
    return strategy.downlink


# The recurrence ---------------------------------------------------------------------------------------


def largest(u: np.ndarray, k: int) -> np.ndarray:
    kept = np.zeros_like(u)
    for j in sorted(range(len(u)), key=lambda j: (-abs(u[j]), j))[:k]:
        kept[j] = u[j]
    return kept


def test_w_follows_the_papers_recurrence_in_float64() -> None:
    rng, key = np.random.default_rng(0), torch.zeros(1, dtype=torch.int64)
    x = rng.normal(size=D)
    w, state = x.copy(), EF21P().start(torch.from_numpy(x.copy())[None])
    for _ in range(50):
        x = x + 0.1 * rng.normal(size=D)
        w = w + largest(x - w, 4)
        state, c = EF21P().step(state, torch.from_numpy(x)[None], lambda u: TopK(4)(u, key))
        assert np.allclose(state.w[0].numpy(), w, rtol=0, atol=1e-13) and c.counts.tolist() == [4]
    assert np.abs(x - w).max() > 0


def test_a_step_leaves_its_inputs_alone() -> None:
    w, x = torch.zeros(1, 3), torch.tensor([[1.0, -2.0, 3.0]])
    before = State(w)
    after, _ = EF21P().step(before, x, lambda u: TopK(1)(u, torch.zeros(1, dtype=torch.int64)))
    assert before.w is w and torch.equal(w, torch.zeros(1, 3)) and after.w.tolist() == [[0.0, 0.0, 3.0]]


def test_clients_differentiate_at_w_in_every_round() -> None:
    """A memoryless method with exact messages is x <- x - gamma mean grad f_i(w), written out here."""
    setup = quadratic("topk:4", {"name": "sgdm", "eta": 1.0}, 1.0, dtype="float64", start="zero", batch_size="full")
    problem, everybody = setup.problem, torch.arange(N)
    strategy, grid = setup.strategy(0, b"run"), resident(setup)[0]
    x = problem.x0().numpy().copy()
    w = x.copy()
    for number, _ in enumerate(rounds(strategy, grid, 20), 1):
        q = problem.gradients(torch.from_numpy(w.copy()), everybody, number).numpy()
        x = x - 0.1 * q.mean(axis=0)
        w = w + largest(x - w, 4)
        assert np.allclose(strategy.descent.x.numpy(), x, rtol=0, atol=1e-12)
        assert np.allclose(strategy.downlink.w.numpy(), w, rtol=0, atol=1e-12)


def test_identity_is_bitwise_the_run_without() -> None:
    plain = scenarios.run(scenario(method=ALL_METHODS, train={"participation": 0.5})).rounds
    sent = [method | {"downlink": "identity"} for method in ALL_METHODS]
    same = scenarios.run(scenario(method=sent, train={"participation": 0.5})).rounds
    aside = ["wall_seconds", "uplink_wire_bytes", "downlink_wire_bytes"]  # the model's version is told on the wire
    assert plain.drop(columns=aside).equals(same.drop(columns=aside))


@pytest.mark.parametrize("method", ALL_METHODS, ids=lambda m: m["name"])
def test_every_method_trains_with_fewer_bytes_down(method: dict[str, Any]) -> None:
    runs = [scenarios.run(scenario(method=[method | {"downlink": down}], rounds=40)).rounds for down in (None, "sign")]
    whole, sign = ({key: run[key].iloc[-1] for key in run} for run in runs)
    assert sign["train_loss"] < 0.9 * runs[1]["train_loss"].iloc[0]
    assert sign["downlink_bytes"] < whole["downlink_bytes"] / 5 and sign["rejected"] == 0


# Whatever is lost ------------------------------------------------------------------------------------


def schedules() -> st.SearchStrategy[tuple[Turn, ...]]:
    where = st.integers(0, 2**12)
    fault = st.one_of(st.just(Fault()), st.builds(Fault, st.sampled_from(FAULTS), where))
    return st.tuples(*[st.builds(Turn, st.tuples(*[fault] * N), where)] * ROUNDS)


WIPES = st.tuples(*[st.sets(st.integers(0, N - 1), max_size=2)] * ROUNDS)  # whose model is lost before each round
down = pytest.mark.parametrize("downlink", ["topk:4", "randk:8", "powersgd:1"])


@down
@pytest.mark.parametrize("method", [FIRST, MEMORYLESS], ids=lambda m: m["name"])
def test_what_a_client_holds_is_the_servers_w_of_that_version(downlink: str, method: dict[str, Any]) -> None:
    setup = quadratic(downlink, method)

    @settings(max_examples=5, deadline=None, phases=DRAWN)
    @given(turns=schedules(), wipes=WIPES)
    def holds(turns: tuple[Turn, ...], wipes: tuple[set[int], ...]) -> None:
        with TemporaryDirectory() as folder:
            store, strategy = Files(Path(folder)), setup.strategy(0, b"run")
            grid = FaultyGrid(N, lambda: setup.program(range(N), store), turns)
            models = models_of(strategy, store)
            server: dict[Point, Tensor] = {shifted(strategy).point: strategy.downlink.w.clone()}
            for done in rounds(strategy, grid, ROUNDS):
                for client in range(N):
                    held = models._read(client)
                    assert held.w is None or torch.equal(held.w, server[held.latest])
                for client in wipes[done.number - 1]:
                    models._path(client).unlink(missing_ok=True)
                server[shifted(strategy).point] = strategy.downlink.w.clone()
            settled(strategy, grid)
            assert all(torch.equal(models._read(client).w, strategy.downlink.w) for client in range(N))

    holds()


def settled(strategy: CompressedStrategy, grid: FaultyGrid) -> None:
    """Undisturbed instructions to everybody, at most two of them, bring everybody to the model as it is now."""
    strategy.invite = lambda round: np.arange(N)  # type: ignore[method-assign]
    strategy.downlink.advance = lambda x, round, told=None: None  # type: ignore[method-assign]
    late = len(grid.turns) + 3 - len(grid.expected)
    for number in range(ROUNDS + 1, ROUNDS + 3 + max(0, late)):
        sent = strategy.configure_train(number, records.pack_model(strategy.descent.x), ConfigRecord(), grid)  # type: ignore[arg-type]
        strategy.aggregate_train(number, grid.send_and_receive(sent))
    assert strategy.last.participants == N


@settings(max_examples=8, deadline=None, phases=DRAWN)
@given(turns=schedules())
def test_models_in_files_survive_a_restart_between_any_two_messages(turns: tuple[Turn, ...]) -> None:
    setup = quadratic("topk:4")
    here = setup.strategy(0, b"run")
    memory = list(rounds(here, resident(setup, turns)[0], ROUNDS))
    with TemporaryDirectory() as folder:
        there = setup.strategy(0, b"run")
        grid = FaultyGrid(N, lambda: setup.program(range(N), Files(Path(folder))), turns)
        assert list(rounds(there, grid, ROUNDS)) == memory
    assert torch.equal(here.descent.x, there.descent.x) and torch.equal(here.downlink.w, there.downlink.w)


def test_one_who_lost_its_model_says_so_and_is_sent_all_of_it_next_time() -> None:
    setup = quadratic("topk:4", MEMORYLESS, 1.0)
    grid, store = resident(setup)
    strategy = setup.strategy(0, b"run")
    bases = list[list[int]]()
    for done in rounds(strategy, grid, 5):
        bases.append(strategy._sent.base.tolist())
        assert done.refused == ({"behind": 1} if done.number == 3 else {})
        if done.number == 2:
            models_of(strategy, store).points.version[1] = -1
    assert bases == [[WHOLE] * N, [0] * N, [1] * N, [2, WHOLE, 2, 2, 2], [3] * N]
    assert strategy.last.participants == N


@pytest.mark.parametrize("fault", ["lose reply", "lose instruction", "raise", "flip block"])
def test_of_whom_nothing_is_known_is_sent_what_follows_the_last_version_it_confirmed(fault: str) -> None:
    setup = quadratic("topk:4", participation=1.0)
    quiet, bad = Turn((Fault(),) * N), Turn((Fault(), Fault(fault, 7), *[Fault()] * (N - 2)))
    strategy, grid = setup.strategy(0, b"run"), resident(setup, (quiet, bad, bad, quiet))[0]
    bases = [strategy._sent.base.tolist() for _ in rounds(strategy, grid, 5)]
    assert [base[1] for base in bases] == [WHOLE, 0, 0, 0, 3]
    assert all(base[0] == number - 1 for number, base in enumerate(bases))
    assert grid.expected[3].heard == list(range(N)) and strategy.last.participants == N


# Bytes -----------------------------------------------------------------------------------------------


class Listening:
    """A grid that weighs what passes."""

    def __init__(self, grid: FaultyGrid) -> None:
        self.grid, self.weight = grid, 0

    def get_node_ids(self) -> list[int]:
        return self.grid.get_node_ids()

    def send_and_receive(self, messages: Any, **given: Any) -> list[Message]:
        sent = list(messages)
        self.weight = 0
        for message in sent:
            for record in message.content.array_records.values():
                self.weight += records.model_bytes(record)
            told = records.read_broadcast(message.content)
            self.weight += sum(map(len, told.increments or ())) if told is not None else 0
        return self.grid.send_and_receive(sent)


@pytest.mark.parametrize("downlink", [None, "topk:4", "sign", "identity"])
@pytest.mark.parametrize("participation", [0.2, 0.6])
def test_bytes_counted_are_bytes_sent(downlink: str | None, participation: float) -> None:
    setup = quadratic(downlink, participation=participation)
    strategy, grid = setup.strategy(0, b"run"), Listening(resident(setup)[0])
    for done in rounds(strategy, grid, 12):
        assert done.downlink_bytes == grid.weight == strategy._sent.total > 0
        assert len(strategy._sent) == done.invited


def _told(sent: Sent) -> Iterator[tuple[int, int, int]]:
    return zip(sent.clients.tolist(), sent.base.tolist(), sent.nbytes.tolist(), strict=True)


def test_everybody_is_sent_whichever_is_fewer_bytes() -> None:
    """Against the sizes of all increments since x0, of which the server itself keeps only the last."""
    setup = quadratic("topk:4", MEMORYLESS, 0.2)
    strategy, grid = setup.strategy(0, b"run"), resident(setup)[0]
    down = shifted(strategy)
    sizes, held, kinds = list[int](), dict[int, int](), set[bool]()
    for number, _ in enumerate(rounds(strategy, grid, 60), 1):
        for client, base, nbytes in _told(strategy._sent):
            catching_up = sum(sizes[held[client] :]) if client in held else down.model_bytes
            assert nbytes == min(catching_up, down.model_bytes)
            assert (base == WHOLE) == (catching_up >= down.model_bytes)
            held[client] = number - 1
            kinds.add(base == WHOLE)
        assert sum(map(len, down.log)) < down.model_bytes
        sizes.append(len(down.log[-1]))
    assert kinds == {True, False}


def test_a_model_that_is_not_finite_is_shown_as_it_is() -> None:
    down = shifted(quadratic("topk:4").strategy(0, b"run"))
    for x in (torch.full((D,), torch.nan), torch.full((D,), torch.inf), torch.zeros(D)):
        down.advance(x, 1)
        assert torch.equal(down.w.nan_to_num(), x.nan_to_num()) and down.log == []
    down.advance(torch.ones(D), 2)
    assert len(down.log) == 1
    diverging = scenario(
        method=[MEMORYLESS | {"gamma": 1e9, "downlink": "topk:5"}], rounds=20, evaluate={"every": 50},
        model={"name": "quadratic", "dim": D, "bias": None}, partition={"clients": N, "scheme": "iid"},
    )  # fmt: skip
    assert scenarios.run(diverging).summary["methods"][0]["status"] == "diverged"


# On the engine ---------------------------------------------------------------------------------------

COMPRESSED = [method | {"downlink": down} for method, down in zip(
    ALL_METHODS, ["topk:20", "randk:0.1", "powersgd:1", "qsgd:7", "topk:20", "natural"], strict=True)]  # fmt: skip


def measured(result: Any) -> Any:
    return result.rounds.drop(columns=["wall_seconds", "invariant_error"])


@pytest.mark.system
@pytest.mark.parametrize("actors", [pytest.param(1, marks=pytest.mark.nightly), 2])
def test_any_number_of_actors_gives_the_same_numbers_bitwise(actors: int) -> None:
    changes: dict[str, Any] = {"method": COMPRESSED, "partition": {"clients": 80}, "train": {"participation": 0.3}}
    here = scenarios.run(scenario(**changes))
    there = scenarios.run(scenario(**changes, engine={"actors": actors, "cpus_per_actor": 0.5}))
    assert measured(there).equals(measured(here))


@pytest.mark.system
@pytest.mark.nightly
def test_flowers_own_simulation_gives_the_same_trajectory(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "method": [COMPRESSED[2], COMPRESSED[4]],
        "train": {"participation": 0.5, "dtype": "float64"},
    }
    ours = measured(scenarios.run(scenario(**changes)))
    theirs = measured(scenarios.run(scenario(**changes, engine={"actors": 2}), runtime="flower", out=tmp_path / "run"))
    for key in ("uplink_bytes", "downlink_bytes", "participants", "rejected"):
        assert ours[key].equals(theirs[key])
    numbers = ["train_loss", "grad_norm_sq", "test_accuracy"]
    assert np.allclose(ours[numbers].astype(float), theirs[numbers].astype(float), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("downlink", ["topk:20", "sign"])
def test_the_client_app_with_a_file_for_each_client_gives_the_same_numbers(downlink: str, tmp_path: Path) -> None:
    setup = prepare(scenario(method=[ALL_METHODS[4] | {"downlink": downlink}], train={"participation": 0.3}))
    app, n, here = client_app(flower_loader(setup, tmp_path)), setup.problem.clients, Settings(actors=0)
    ours, theirs = (setup.strategy(0, b"run") for _ in range(2))
    with RayGrid(n, batched=lambda block: setup.program(block, Memory(block)), settings=here) as grid:
        batched = list(rounds(ours, grid, 10))
    with RayGrid(n, app=app, settings=here) as grid:
        assert list(rounds(theirs, grid, 10)) == batched
        files = sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file())
        assert set(files) == {".model", ".state"}
        theirs.retire(grid)
    assert torch.equal(ours.downlink.w, theirs.downlink.w) and torch.allclose(ours.descent.x, theirs.descent.x)
    assert not any(tmp_path.iterdir())


def test_a_call_takes_every_increment_once_and_clients_of_all_versions() -> None:
    setup = prepare(scenario(method=[MEMORYLESS | {"gamma": 0.1, "downlink": "topk:20"}],
                             partition={"clients": 60, "scheme": "iid"}, train={"participation": 0.5}))  # fmt: skip
    strategy, calls = setup.strategy(0, b"run"), list[tuple[Any, ...]]()
    here = Settings(actors=0)
    with RayGrid(60, batched=lambda block: setup.program(block, Memory(block)), settings=here) as grid:
        submit: Callable[..., Any] = grid._pool.submit
        grid._pool.submit = lambda *given: calls.append(given) or submit(*given)  # type: ignore[method-assign, func-returns-value]
        for _ in rounds(strategy, grid, 12):
            pass
    _, _, x, clients, _, told, _ = calls[-1]
    distinct = {sent.increments for sent in told}
    assert len(clients) == 30 and len(distinct) > 2  # one call, though clients are at several versions
    each = sum(sum(map(len, sent.increments or ())) for sent in told)
    once = sum(map(len, max((one for one in distinct if one is not None), key=len)))
    assert len(pickle.dumps(told)) < once + 40 * len(told) + 200 * len(distinct) < each
    assert (x is not None) == (None in distinct)


# Bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "field", "told"),
    [
        ("topk:0.0", "method[0].downlink.fraction", "must"),
        ("topk", "method[0].downlink", "k"),
        ("topk:a=1", "method[0].downlink.a", "is not an option"),
        ("topk:1,2", "method[0].downlink", "must read"),
        ("hard-threshold:0.1", "method[0].downlink", "must contract"),
        ("randk:k=5,scaled=true", "method[0].downlink", "must contract"),
        ("qsgd:levels=7,contractive=false", "method[0].downlink", "must contract"),
    ],
)
def test_a_word_that_cannot_work_is_told_before_anything_starts(word: str, field: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        prepare(scenario(method=[ALL_METHODS[4] | {"downlink": word}]))
    assert caught.value.field.startswith(field)


def test_a_name_that_is_not_known_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'topk'"):
        scenario(method=[ALL_METHODS[4] | {"downlink": "topq:0.1"}])
