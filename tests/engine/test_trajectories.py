"""The same scenario gives the same trajectory whatever computes it."""

from pathlib import Path

import numpy as np
import pytest
from pandas import DataFrame

import scenarios
from fl_ef21 import data, partition
from scenarios.results import Result
from scenarios.schema import Scenario
from tests import oracle
from tests.small import ALL_METHODS, scenario

MEASURED = [
    "train_loss",
    "grad_norm_sq",
    "test_accuracy",
    "uplink_bytes",
    "downlink_bytes",
    "participants",
    "rejected",
]

ON_NIGHTS = pytest.mark.nightly
SEVERAL_TILES = {"clients": 80}  # a shard holds whole tiles of 16, so fewer clients would all lie in one actor


def measured(result: Result) -> DataFrame:
    return result.rounds[["method", "round", *MEASURED]]


@pytest.fixture(scope="module")
def in_process() -> Result:
    return scenarios.run(scenario(method=ALL_METHODS, partition=SEVERAL_TILES))


@pytest.mark.system
@pytest.mark.parametrize("actors", [pytest.param(1, marks=ON_NIGHTS), 2, pytest.param(5, marks=ON_NIGHTS)])
def test_any_number_of_actors_gives_the_same_numbers_bitwise(in_process: Result, actors: int) -> None:
    spread = scenarios.run(
        scenario(method=ALL_METHODS, partition=SEVERAL_TILES, engine={"actors": actors, "cpus_per_actor": 0.5})
    )
    assert measured(spread).equals(measured(in_process))


@pytest.mark.system
def test_flowers_own_simulation_gives_the_same_trajectory(tmp_path: Path) -> None:
    changes = {
        "method": [ALL_METHODS[2], ALL_METHODS[5]],
        "train": {"participation": 0.5, "dtype": "float64"},
    }
    ours = measured(scenarios.run(scenario(**changes)))
    theirs = measured(scenarios.run(scenario(**changes, engine={"actors": 2}), runtime="flower", out=tmp_path / "run"))
    assert ours["uplink_bytes"].equals(theirs["uplink_bytes"])
    assert np.allclose(ours[MEASURED].astype(float), theirs[MEASURED].astype(float), rtol=1e-9, atol=1e-12)


def objective(s: Scenario) -> tuple[oracle.Gradient, int, int]:
    """Full gradients of softmax regression on the scenario's own partition, in plain NumPy."""
    digits = data.load("digits")
    n, classes = s.partition.clients, 10
    parts = partition.split(digits, clients=n, scheme=s.partition.scheme, seed=s.seed)
    flat = digits.features.reshape(len(digits.features), -1).astype(np.float64)

    def gradient(i: int, x: np.ndarray, t: int) -> np.ndarray:
        a, y = flat[parts[i]], digits.labels[parts[i]]
        w, b = x[: classes * a.shape[1]].reshape(classes, -1), x[classes * a.shape[1] :]
        z = a @ w.T + b
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        p /= len(y)
        return np.concatenate([(p.T @ a).reshape(-1), p.sum(axis=0)])

    return gradient, n, classes * flat.shape[1] + classes


@pytest.mark.parametrize("start", ["gradient", "zero"])
@pytest.mark.parametrize("method", ALL_METHODS, ids=lambda m: m["name"])
def test_the_engine_follows_the_paper_in_float64(method: dict, start: str) -> None:
    s = scenario(
        method=[method], rounds=60, train={"batch_size": "full", "dtype": "float64", "start": start},
        evaluate={"every": 1},
    )  # fmt: skip
    grad, n, d = objective(s)
    C = oracle.identity if method["name"] == "sgdm" else oracle.topk(5)
    xs, _ = oracle.run(
        method["name"], grad, np.zeros(d), n, s.rounds, lambda t: 0.2, lambda t: 0.3, C, start == "gradient"
    )
    want = [float(np.square(np.mean([grad(i, x, 0) for i in range(n)], axis=0)).sum()) for x in xs]
    got = scenarios.run(s).rounds["grad_norm_sq"]
    assert np.allclose(got, want, rtol=1e-10, atol=1e-14)


def test_the_invariant_holds_at_every_round_of_a_thousand() -> None:
    result = scenarios.run(scenario(rounds=1000, evaluate={"every": 1}, train={"participation": 0.4}))
    errors = result.rounds["invariant_error"]
    assert len(errors) == 1001 and errors.max() <= 1e-6


def test_another_seed_gives_another_trajectory() -> None:
    a, b = (scenarios.run(scenario(seed=seed)).rounds["train_loss"] for seed in (1, 2))
    assert not np.allclose(a, b)


def test_methods_see_the_same_samples_whatever_runs_beside_them() -> None:
    alone = scenarios.run(scenario(method=[ALL_METHODS[4]])).of("ef21-sgdm")
    beside = scenarios.run(scenario(method=ALL_METHODS)).of("ef21-sgdm")
    assert list(alone["train_loss"]) == list(beside["train_loss"])
