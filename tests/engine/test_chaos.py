"""Faults made on purpose: drawn by (seed, client, round) alone, and what only crashes changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flwr.app import Message

from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.chaos import ChaosGrid
from fl_ef21.errors import InputError
from fl_ef21.faults import WORDS, Faults
from fl_ef21.store import Memory
from scenarios import chaos
from scenarios.setup import Setup, prepare
from strategies.flower import CompressedStrategy
from tests.small import scenario

N, ROUNDS = 12, 8


def setup_of(**changes: Any) -> Setup:
    return prepare(scenario(chaos="kill=1%", train={"batch_size": 2, "participation": 0.7}, **changes))


SETUP = setup_of()


class Spied(RayGrid):
    """Counts what it carries of training, by client."""

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        sent = list(messages)
        told = [Block.unpack(records.read_block(message)) for message in sent]
        self.carried = getattr(self, "carried", Counter[int]())
        self.carried.update(block.client for block in told if block.kind == Kind.TRAIN)
        return super().push_messages(sent)


@contextmanager
def grid_of(text: str, setup: Setup = SETUP, actors: int = 0) -> Iterator[ChaosGrid]:
    def shard(block: range) -> Any:
        return setup.program(block, Memory(block))

    with Spied(N, batched=shard, settings=Settings(actors), tile=setup.tile, heal=True) as inner:
        yield ChaosGrid(inner, Faults.parse(text), tile=setup.tile)


def trained(grid: Any, setup: Setup = SETUP, **changes: Any) -> tuple[CompressedStrategy, Counter[str]]:
    """After all rounds, with the reasons for which replies were refused."""
    strategy, refused = setup.strategy(0, b"run"), Counter[str]()
    strategy.late = changes.get("late", "discard")
    chaos.follow(grid, strategy)
    for done in strategy.rounds(grid, ROUNDS, changes.get("timeout")):
        refused.update(done.refused)
    return strategy, refused


def undisturbed(setup: Setup = SETUP) -> bytes:
    with RayGrid(N, batched=lambda b: setup.program(b, Memory(b)), settings=Settings(0), tile=setup.tile) as grid:
        return trained(grid, setup)[0].digest()


@pytest.mark.parametrize(
    ("actors", "kill", "kills"),
    [(0, "6%", 3), pytest.param(2, "2%", 1, marks=[pytest.mark.system, pytest.mark.nightly])],
)
def test_kills_and_duplicates_do_not_change_a_bit(actors: int, kill: str, kills: int) -> None:
    with grid_of(f"kill={kill},duplicate=15%,seed=2", actors=actors) as grid:
        strategy, refused = trained(grid)
        assert grid.done["kill"] >= kills and grid.done["duplicate"] >= 5
        assert strategy.digest() == undisturbed()
        assert refused == {"stale": grid.done["duplicate"]}


def test_nor_do_they_where_neighbours_matter() -> None:
    """A product over several clients may be rounded in another way than that of one of them alone."""
    network = setup_of(model={"name": "mlp", "hidden": [5], "bias": None, "per_client": "vmap"})
    assert not network.problem.rowwise and network.tile > 1
    with grid_of("duplicate=20%", network) as grid:
        strategy, _ = trained(grid, network)
        assert grid.done["duplicate"] and strategy.digest() == undisturbed(network)


ALL = (
    "kill=2%,duplicate=5%,lose=5%,lose-instruction=3%,lose-reply=3%,late=5%,damage=5%,wipe=3%,leave=4%,join=30%,seed=4"
)


def test_whatever_is_done_g_stays_the_sum() -> None:
    with grid_of(ALL) as grid:
        strategy, refused = trained(grid)
        assert set(grid.done) | {"lose"} == set(WORDS)
        damaged = refused.total() - sum(refused[reason] for reason in ("stale", "lacks", "bye"))
        assert refused["stale"] >= grid.done["duplicate"] and damaged == grid.done["damage"] > 0
        error = strategy.audit(grid)
        if error is None:  # one who was wiped last answers that it lacks its state, and is sent it
            error = strategy.audit(grid)
        assert error is not None and error < 1e-6


def test_the_same_again_is_the_same_whatever_the_actors_or_the_method() -> None:
    def run(seed: int) -> tuple[bytes, Counter[str]]:
        with grid_of(ALL.replace("seed=4", f"seed={seed}")) as grid:
            return trained(grid)[0].digest(), Counter(grid.done)

    first = run(4)
    assert run(4) == first and run(5) != first


@pytest.mark.parametrize(
    ("text", "least", "most"), [("lose-instruction=100%", 0, 0), ("lose-reply=100%", 1, 1), ("duplicate=100%", 2, 2)]
)
def test_a_client_is_asked_as_often_as_the_word_says(text: str, least: int, most: int) -> None:
    with grid_of(text) as grid:
        strategy = SETUP.strategy(0, b"run")
        for _ in zip(range(1), _until_silence(strategy, grid), strict=False):
            pass
        carried: Counter[int] = getattr(grid.inner, "carried", Counter())
        assert {carried[i] for i in range(N)} == {least, most}


def _until_silence(strategy: CompressedStrategy, grid: ChaosGrid) -> Iterator[Any]:
    yield from strategy.rounds(grid, 1)


def test_a_late_reply_comes_with_those_of_the_next_round() -> None:
    with grid_of("late=30%,seed=2") as grid:
        _, refused = trained(grid)
        assert 0 < refused["stale"] <= grid.done["late"] and set(refused) == {"stale"}
    with grid_of("late=30%,seed=2") as grid:
        strategy, refused = trained(grid, late="apply")
        error = strategy.audit(grid)
        assert error is not None and error < 1e-6 and refused["stale"] < grid.done["late"]


def test_replies_may_be_pulled_one_by_one() -> None:
    """With a timeout and late replies that are wanted, the strategy pushes and pulls."""
    with grid_of("kill=3%,duplicate=10%,lose-reply=5%,seed=3") as grid:
        strategy, _ = trained(grid, late="apply", timeout=0.3)
        error = strategy.audit(grid)
        assert grid.done["kill"] and grid.done["lose-reply"] and error is not None and error < 1e-6


def test_a_grid_that_does_not_hold_the_clients_cannot_kill_them() -> None:
    with grid_of("late=1%") as grid, pytest.raises(InputError, match="only the resident engine"):
        ChaosGrid(grid, Faults.parse("kill=1%"))


def test_half_of_the_clients_stay() -> None:
    with grid_of("leave=40%,seed=1") as grid:
        strategy, _ = trained(grid)
        assert strategy.members.there.sum() == N // 2 and grid.done["leave"] == N // 2
        error = strategy.audit(grid)
        assert error is not None and error < 1e-6
