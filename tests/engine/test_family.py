"""Every method of the family beside its NumPy rule, through messages, payloads, protocol and engine, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.shard import computing_with
from fl_ef21.store import Memory
from scenarios.checking.beside import apart
from scenarios.setup import Setup, prepare
from tests.family import CASES
from tests.oracles.given import Case, Vector
from tests.small import scenario

N, STEPS = 6, 12
Who = Callable[[int], list[int]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Vectors this short are not worth a second thread, nor a grid of six clients a look through all of torch."""
    monkeypatch.setattr("fl_ef21.engine.grid.gc.collect", lambda: 0)
    with computing_with(1):
        yield


def setup_of(case: Case, start: str, participation: float) -> Setup:
    train = {"batch_size": 2, "dtype": "float64", "start": start, "participation": participation} | case.train
    return prepare(scenario(method=[case.method], partition={"clients": N}, train=train, rounds=STEPS))


def run(setup: Setup) -> tuple[list[Vector], list[list[int]], list[float | None]]:
    """The iterates, whose messages each round had, and how far g is from the sum of the g_i at the end."""
    grid = RayGrid(
        N, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(0), tile=setup.tile, heal=False
    )
    strategy, xs, who = setup.strategy(0, b"run"), [setup.problem.x0().numpy().copy()], list[list[int]]()
    with grid:
        strategy.nodes.enrol(grid)
        for done in strategy.rounds(grid, STEPS):
            assert not done.refused, done.first
            xs.append(strategy.descent.x.numpy().copy())
            who.append(strategy.used.tolist())
        return xs, who, [strategy.audit(grid)]


def differs(setup: Setup, case: Case) -> float:
    """The largest difference of any coordinate of any iterate, relative to the largest; g is audited besides."""
    xs, who, audits = run(setup)
    assert np.abs(xs[-1] - xs[0]).max() > 1e-4
    assert all(error is None or error <= 1e-12 for error in audits)
    return apart(setup, xs, who, case.rule)


STARTS = [(case, start) for case in CASES for start in case.starts]
SAMPLED = [case for case in CASES if case.sampled]


@pytest.mark.parametrize(("case", "start"), STARTS, ids=lambda value: str(value))
def test_the_engine_follows_the_rule(case: Case, start: str) -> None:
    assert differs(setup_of(case, start, 1.0), case) <= 1e-10


@pytest.mark.parametrize("case", SAMPLED, ids=str)
def test_the_engine_follows_the_rule_where_half_of_the_clients_are_asked(case: Case) -> None:
    start = case.starts[0]
    assert differs(setup_of(case, start, 0.5), case) <= 1e-6
