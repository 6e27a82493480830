"""A method as the engine runs it, beside a rule in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.compressors.identity import Identity
from fl_ef21.plan import Plan
from fl_ef21.problems import points
from scenarios.checking.given import Given, Rule, Vector
from scenarios.setup import Setup


def apart(setup: Setup, xs: Sequence[Vector], who: Sequence[Sequence[int]], rule: Rule) -> float:
    """The largest difference of any coordinate of any iterate x^0 .. x^T from the rule's, relative to the largest.

    Raises: ValueError where the rule returns another number of iterates.
    """
    want = rule(given(setup, who))
    if len(want) != len(xs):
        raise ValueError(f"the rule returned {len(want)} iterates of {len(xs)}: x^0 .. x^{len(xs) - 1}")
    size = max(1.0, max(float(np.abs(x).max()) for x in want))
    return max(float(np.abs(x - w).max()) for x, w in zip(xs, want, strict=True)) / size


def given(setup: Setup, who: Sequence[Sequence[int]]) -> Given:
    """What the rule of the scenario's first method is given; who: whose messages each round had."""
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
        n=problem.clients, x0=problem.x0().numpy().copy(), steps=len(who), start=train.start == "gradient", q=q,
        exact=exact, C=partial(compressed, plan), gamma=plan.gamma, eta=plan.eta, who=lambda t: who[t - 1],
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
    c = (plan.downlink or Identity())(torch.from_numpy(u)[None], randomness.key(plan.seed, "downlink", round=t))
    return c.dense()[0].to(torch.float64).numpy().copy()


def coin(seed: int, i: int, t: int, p: float) -> bool:
    return bool(randomness.uniform(randomness.key(seed, "coin", i, t), 1) < p)


def common(seed: int, t: int, p: float) -> bool:
    return bool(randomness.uniform(randomness.key(seed, "common coin", round=t), 1) < p)
