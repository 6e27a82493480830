"""The paper's point, measured: momentum is what lets EF21 live with small batches."""

import pytest
import torch

import scenarios
import tests.loop as loop
from fl_ef21 import problems
from scenarios.schema import Scenario

pytestmark = [pytest.mark.system, pytest.mark.nightly]  # by day, tests/scenarios/papers holds a reduced size


def floor(method: str, n: int, seed: int) -> float:
    """E|x|^2 = E|grad f|^2 over the second half of 3,000 steps on Theorem 1's problem, batch 1."""
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
        3000,
        gamma=0.02,
        eta=0.02,
        C=loop.topk(1),
    )
    return float(torch.stack(xs[1500:]).square().sum(dim=1).mean())


def test_theorem_1_ef21_sgd_stops_improving_with_n_and_momentum_goes_on() -> None:
    seeds, sizes = (0, 1), (8, 64, 512)
    plain = {n: [floor("ef21-sgd", n, seed) for seed in seeds] for n in sizes}
    momentum = {n: [floor("ef21-sgdm", n, seed) for seed in seeds] for n in sizes}
    # eight times the clients: the best seed of the larger n is hardly below the worst of the smaller for EF21-SGD
    assert min(plain[512]) > 0.5 * max(plain[64])
    # and falls like 1/n with momentum, by at least half of the factor 8, in every pairing of seeds
    assert max(momentum[64]) < min(momentum[8]) / 4
    assert max(momentum[512]) < min(momentum[64]) / 2
    assert max(momentum[512]) < min(plain[512]) / 10


def tails(
    batch: int, rounds: int, seed: int, k: int, methods: list[dict[str, object]], evaluations: int = 20
) -> dict[str, float]:
    """Mean of |grad f|^2 over the last fifth of the rounds; ten clients, digits sorted by label."""
    result = scenarios.run(
        Scenario.model_validate(
            {
                "name": "paper",
                "seed": seed,
                "rounds": rounds,
                "partition": {"clients": 10, "scheme": "label-sorted"},
                "model": {"name": "logistic-nonconvex", "regularizer": 1e-4},
                "train": {"batch_size": batch},
                "method": [method | {"compressor": "topk", "k": k, "values": "exact"} for method in methods],
                "evaluate": {"every": rounds // evaluations, "audit": False},
                "engine": {"actors": 0},
            }
        )
    )
    late = result.rounds[result.rounds["round"] > 0.8 * rounds]
    assert late.groupby("method")["uplink_bytes"].max().nunique() == 1 or batch > 1  # equal bytes
    return dict(late.groupby("method")["grad_norm_sq"].mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_with_batch_1_ef21_sgd_stalls_and_momentum_does_not(seed: int) -> None:
    got = tails(
        1, 3000, seed, 1, [{"name": "ef21-sgd", "gamma": 0.25}, {"name": "ef21-sgdm", "gamma": 0.25, "eta": 0.03}]
    )
    assert got["ef21-sgd"] > 10 * got["ef21-sgdm"]


@pytest.mark.parametrize("seed", [0, 1])
def test_with_batch_128_momentum_ends_below_ef14_and_ef21_sgd(seed: int) -> None:
    # EF14 is noisy: the mean of four evaluations came out up to 1.4 times that of forty
    methods: list[dict[str, object]] = [{"name": "ef14"}, {"name": "ef21-sgd"}, {"name": "ef21-sgdm", "eta": 0.3}]
    got = tails(128, 2000, seed, 10, [method | {"gamma": 1.0} for method in methods], evaluations=200)
    assert got["ef21-sgdm"] < 0.5 * got["ef21-sgd"] and got["ef21-sgdm"] < 0.8 * got["ef14"]
