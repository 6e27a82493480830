"""Every method of the family beside its NumPy rule, through messages, payloads, protocol and engine, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21 import randomness
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.shard import computing_with
from fl_ef21.plan import Plan
from fl_ef21.problems import points
from fl_ef21.store import Memory
from scenarios.setup import Setup, prepare
from tests.family import CASES
from tests.oracles.given import Case, Given, Vector
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


def given(setup: Setup, who: list[list[int]], start: str) -> Given:
    plan, problem = setup.plans[0], setup.problem
    inner: Any = points._inner(problem)
    hyper = {name: value(1) for name, value in plan.hyper.items()}
    train = setup.scenario.train
    weights = problem.weights if plan.weights is None else plan.weights

    def q(i: int, y: Vector, t: int, k: int = 0) -> Vector:
        found: torch.Tensor = inner.gradients(torch.from_numpy(y), torch.tensor([i]), t, k)[0]
        return found.numpy().copy()

    def exact(i: int, y: Vector) -> Vector:
        return points.exact(problem, torch.from_numpy(y), torch.tensor([i]))[0].numpy().copy()

    return Given(
        n=N, x0=problem.x0().numpy().copy(), steps=STEPS, start=start == "gradient", q=q, exact=exact,
        C=partial(compressed, plan), gamma=plan.gamma, eta=plan.eta, who=lambda t: who[t - 1],
        coin=partial(coin, plan.seed), common=partial(common, plan.seed), weights=weights.numpy().copy(),
        shapes=problem.shapes, hyper=hyper, alpha=plan.alpha, omega=plan.omega, participation=train.participation,
        down=partial(down, plan), rate=train.local_rate or 0.0,
        K=train.local_steps if isinstance(train.local_steps, int) else 1,
    )  # fmt: skip


def compressed(plan: Plan, u: Vector, i: int, t: int, call: int = 0) -> Vector:
    purpose = f"compressor, call {call + 1}" if call else "compressor"
    ids = torch.tensor([i])
    c = plan.compress(torch.from_numpy(u)[None], randomness.keys(plan.seed, purpose, ids, t), ids)
    return c.dense()[0].to(torch.float64).numpy().copy()


def down(plan: Plan, u: Vector, t: int) -> Vector:
    assert plan.downlink is not None
    c = plan.downlink(torch.from_numpy(u)[None], randomness.key(plan.seed, "downlink", round=t))
    return c.dense()[0].to(torch.float64).numpy().copy()


def coin(seed: int, i: int, t: int, p: float) -> bool:
    return bool(randomness.uniform(randomness.key(seed, "coin", i, t), 1) < p)


def common(seed: int, t: int, p: float) -> bool:
    return bool(randomness.uniform(randomness.key(seed, "common coin", round=t), 1) < p)


def differs(setup: Setup, case: Case, start: str) -> float:
    """The largest difference of any coordinate of any iterate, relative to the largest; g is audited besides."""
    xs, who, audits = run(setup)
    want = case.rule(given(setup, who, start))
    assert len(want) == len(xs) and np.abs(xs[-1] - xs[0]).max() > 1e-4
    assert all(error is None or error <= 1e-12 for error in audits)
    size = max(1.0, max(float(np.abs(x).max()) for x in want))
    return max(float(np.abs(x - w).max()) for x, w in zip(xs, want, strict=True)) / size


STARTS = [(case, start) for case in CASES for start in case.starts]
SAMPLED = [case for case in CASES if case.sampled]


@pytest.mark.parametrize(("case", "start"), STARTS, ids=lambda value: str(value))
def test_the_engine_follows_the_rule(case: Case, start: str) -> None:
    assert differs(setup_of(case, start, 1.0), case, start) <= 1e-10


@pytest.mark.parametrize("case", SAMPLED, ids=str)
def test_the_engine_follows_the_rule_where_half_of_the_clients_are_asked(case: Case) -> None:
    start = case.starts[0]
    assert differs(setup_of(case, start, 0.5), case, start) <= 1e-6
