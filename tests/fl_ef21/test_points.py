"""Gradients at points of clients' own, over all samples, and along steered local steps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fl_ef21.oracle import Oracle
from fl_ef21.problems import points
from fl_ef21.types import Problem
from scenarios.setup import prepare
from tests.small import scenario

IDS, RATE = torch.tensor([1, 4, 7]), 0.05


def problem(**train: object) -> Problem:
    return prepare(scenario(train={"batch_size": 2, "dtype": "float64"} | train)).problem


def oracle(p: Problem, x: Tensor) -> Oracle:
    return Oracle(p, x, None, IDS, 3, 5, torch.ones(3, 1))


def somewhere(p: Problem) -> Tensor:
    return 0.1 * torch.sin(torch.arange(p.dim, dtype=torch.float64))


def test_at_the_received_model_the_gradient_elsewhere_is_the_gradient() -> None:
    p = problem()
    o = oracle(p, somewhere(p))
    assert torch.equal(o.at(o.x), o.q) and torch.equal(o.at(o.here), o.q)
    assert not torch.equal(o.at(o.x + 0.1), o.q)


def test_exact_gradients_are_those_that_the_objective_is_the_mean_of() -> None:
    p, everybody = problem(), torch.arange(12)
    x = somewhere(p)
    mean = p.weights @ points.exact(p, x, everybody)
    assert torch.allclose(mean, p.objective(x)[1], rtol=0, atol=1e-12)


def test_a_path_that_nothing_steers_is_that_of_local_steps() -> None:
    p = problem(local_steps=4, local_rate=RATE)
    o = oracle(p, somewhere(p))
    assert torch.equal(o.along(), o.q) and torch.equal(o.along(torch.zeros(3, p.dim)), o.q)


@pytest.mark.parametrize("mu", [0.0, 0.7])
@pytest.mark.parametrize("shape", ["each", "all"])
def test_a_steered_path_follows_the_recurrence(mu: float, shape: str) -> None:
    p, single = problem(local_steps=3, local_rate=RATE), problem()
    x = somewhere(p)
    shift = torch.cos(torch.arange(3 * p.dim, dtype=torch.float64)).reshape(3, p.dim)
    shift = shift if shape == "each" else shift[0]
    y, total = x.expand(3, -1), torch.zeros(3, p.dim, dtype=torch.float64)
    for k in range(3):
        q = single.gradients(y, IDS, 3, k)  # type: ignore[call-arg]
        total = total + q
        y = y - RATE * (q + shift + mu * (y - x))
    assert torch.allclose(oracle(p, x).along(shift, mu), total / 3, rtol=0, atol=1e-13)
    assert torch.allclose(oracle(p, x).moved(shift, mu), (x - y) / (3 * RATE), rtol=0, atol=1e-12)


def test_clients_of_different_numbers_of_steps_move_as_each_would_alone() -> None:
    steps = [2, 5, 3]
    p = problem(local_steps=steps, local_rate=RATE)
    x = somewhere(p)
    together = points.moved(p, x, torch.arange(3), 3, mu=0.7)
    for i, K in enumerate(steps):
        alone = points.moved(problem(local_steps=K, local_rate=RATE), x, torch.tensor([i]), 3, mu=0.7)
        assert torch.allclose(together[i : i + 1], alone, rtol=0, atol=1e-13)


def test_with_one_step_there_is_nothing_to_steer() -> None:
    p = problem()
    o = oracle(p, somewhere(p))
    assert torch.equal(o.along(torch.ones(3, p.dim), mu=3.0), o.q) and not points.local_steps(p)
    assert points.local_steps(problem(local_steps=2, local_rate=RATE))


def test_coins_are_the_clients_own_and_the_common_one_is_everybodys() -> None:
    p, everybody = problem(), torch.arange(4000)
    rounds = [Oracle(p, p.x0(), None, everybody, t, 5, torch.ones(1, 1)) for t in range(1, 400)]
    assert abs(float(rounds[0].coin(0.25).to(torch.float64).mean()) - 0.25) < 0.03
    assert abs(sum(o.common(0.25) for o in rounds) / len(rounds) - 0.25) < 0.09
    few = Oracle(p, p.x0(), None, everybody[10:20], 1, 5, torch.ones(1, 1))
    assert torch.equal(few.coin(0.25), rounds[0].coin(0.25)[10:20])
    assert few.common(0.25) == rounds[0].common(0.25)
    assert bool(few.coin(1.0).all()) and not few.coin(0.0).any()


def test_who_hears_nothing_is_told_so() -> None:
    p = problem()
    with pytest.raises(ValueError, match="does not say what it hears"):
        _ = oracle(p, p.x0()).heard
