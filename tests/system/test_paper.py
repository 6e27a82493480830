"""The paper's point, measured: momentum is what lets EF21 live with small batches."""

from pathlib import Path

import pytest
import torch

import scenarios
import tests.loop as loop
from fl_ef21 import problems
from scenarios.schema import Scenario

pytestmark = pytest.mark.system


def floor(method: str, n: int, seed: int) -> float:
    """E|x|^2 = E|grad f|^2 over the second half of 4,000 steps on Theorem 1's problem, batch 1."""
    problem = problems.build(
        "theorem1",
        clients=n,
        data=None,
        parts=None,
        options={"L": 1.0, "sigma": 1.0, "x0": [0.0, -1.0]},
        batch_size=1,
        weights="equal",
        seed=seed,
        dtype=torch.float64,
    )
    ids = torch.arange(n)
    xs, _ = loop.run(
        method,
        lambda x, t: problem.gradients(x, ids, t),
        problem.x0(),
        n,
        4000,
        gamma=0.02,
        eta=0.02,
        C=loop.topk(1),
    )
    return float(torch.stack(xs[2000:]).square().sum(dim=1).mean())


def test_theorem_1_ef21_sgd_stops_improving_with_n_and_momentum_goes_on() -> None:
    seeds, sizes = (0, 1, 2), (8, 64, 512)
    plain = {n: [floor("ef21-sgd", n, seed) for seed in seeds] for n in sizes}
    momentum = {n: [floor("ef21-sgdm", n, seed) for seed in seeds] for n in sizes}
    # eight times the clients: the best seed of the larger n is hardly below the worst of the smaller for EF21-SGD
    assert min(plain[512]) > 0.5 * max(plain[64])
    # and falls like 1/n with momentum, by at least half of the factor 8, in every pairing of seeds
    assert max(momentum[64]) < min(momentum[8]) / 4
    assert max(momentum[512]) < min(momentum[64]) / 2
    assert max(momentum[512]) < min(plain[512]) / 10
