"""Whole runs whose clients differ, and whose way to take gradients was measured."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from fl_ef21 import data, partition, randomness
from fl_ef21.problems import choosing
from scenarios.loading import load
from scenarios.progress import Silent
from scenarios.results import Result
from scenarios.setup import prepare
from tests import oracle
from tests.small import scenario

MIXED: dict[str, Any] = {"batch_size": [1, "full", 5], "local_steps": [1, 3], "local_rate": 0.1}
BATCHES: list[Any] = [16, "full", 25]
METHODS = [
    {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": [3, 40, 9]},
    {"name": "ef21-sgd2m", "eta": 0.3, "gamma": 0.1, "compressor": "randk", "fraction": [0.02, 0.1]},
    {"name": "ef14", "gamma": 0.1, "compressor": "topk", "values": "qsgd", "levels": 4, "k": [3, 9]},
]


def measured(result: Result) -> Any:
    return result.rounds.drop(columns="wall_seconds")


@pytest.mark.system
def test_two_actors_give_bitwise_what_none_gives_for_clients_that_differ() -> None:
    changes: dict[str, Any] = {
        "partition": {"clients": 40}, "train": MIXED | {"participation": 0.6}, "method": METHODS, "rounds": 4,
    }  # fmt: skip
    alone, spread = (scenarios.run(scenario(engine={"actors": actors}, **changes)) for actors in (0, 2))
    assert measured(spread).equals(measured(alone))
    assert alone.rounds["invariant_error"].dropna().max() <= 1e-6 and not alone.rounds["rejected"].any()


def test_a_run_with_local_steps_and_levels_follows_the_recurrence_in_float64() -> None:
    s = scenario(
        method=[METHODS[0]], rounds=10, train=MIXED | {"dtype": "float64", "batch_size": BATCHES},
        evaluate={"every": 1}, partition={"scheme": "iid"},  # else many coordinates tie, and rounding decides
    )  # fmt: skip
    digits, n = data.load("digits"), s.partition.clients
    parts = partition.split(digits, clients=n, scheme=s.partition.scheme, seed=s.seed)
    flat = digits.features.reshape(len(digits.features), -1).astype(np.float64)

    def at(x: np.ndarray, which: np.ndarray) -> np.ndarray:
        a, y = flat[which], digits.labels[which]
        z = a @ x[: 10 * a.shape[1]].reshape(10, -1).T + x[10 * a.shape[1] :]
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        p[np.arange(len(y)), y] -= 1
        p /= len(y)
        return np.concatenate([(p.T @ a).reshape(-1), p.sum(axis=0)])

    def drawn(i: int, t: int, step: int) -> np.ndarray:
        B = BATCHES[i % 3]
        if B == "full":
            return parts[i]
        purpose = f"sample, step {step}" if step else "sample"
        key = randomness.key(s.seed, purpose, i, t)
        return parts[i][(randomness.uniform(key, B)[0].numpy() * len(parts[i])).astype(int)]

    def gradient(i: int, x: np.ndarray, t: int) -> np.ndarray:
        y, K = x.copy(), MIXED["local_steps"][i % 2]
        for step in range(K):
            y = y - 0.1 * at(y, drawn(i, t, step))
        return (x - y) / (0.1 * K)

    x, xs = np.zeros(650), [np.zeros(650)]
    v, g = (np.zeros((n, 650)) for _ in range(2))
    for t in range(1, s.rounds + 1):
        q = np.array([gradient(i, x, t) for i in range(n)])
        v = q.copy() if t == 1 else 0.7 * v + 0.3 * q
        g = v.copy() if t == 1 else np.array([g[i] + oracle.topk([3, 40, 9][i % 3])(v[i] - g[i]) for i in range(n)])
        x = x - 0.2 * g.mean(axis=0)
        xs.append(x)
    want = [float(np.square(np.mean([at(x, parts[i]) for i in range(n)], axis=0)).sum()) for x in xs]
    assert np.allclose(scenarios.run(s).rounds["grad_norm_sq"], want, rtol=1e-10, atol=1e-14)


def test_lists_of_one_give_the_run_of_the_numbers_bitwise() -> None:
    numbers = scenario(method=[{"name": "ef21-sgdm", "gamma": 0.2, "compressor": "topk", "k": 5}])
    listed = scenario(
        method=[{"name": "ef21-sgdm", "gamma": 0.2, "compressor": "topk", "k": [5]}],
        train={"batch_size": [2], "local_steps": [1, 1]},
    )  # fmt: skip
    assert measured(scenarios.run(listed)).equals(measured(scenarios.run(numbers)))


class Listener(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def message(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(
    ("seconds", "way"), [({"loop": 2.0, "vmap": 1.0}, "vmap"), ({"loop": 1.0, "vmap": 2.0}, "loop")]
)
def test_what_was_measured_is_told_kept_and_taken_again(
    seconds: dict[str, float], way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "_measured", lambda *_: seconds)
    s, listener = scenario(model={"name": "mlp", "hidden": [6], "bias": None}, rounds=2), Listener()
    first = scenarios.run(s, out=tmp_path / "a", listener=listener)
    assert sum(f"gradients by {way} (a client takes: loop" in text for text in listener.told) == 1
    assert tomllib.loads((tmp_path / "a" / "scenario.toml").read_text())["model"]["per_client"] == way
    assert first.summary["problem"]["per_client"] == way
    assert first.summary["problem"]["seconds_per_client"] == seconds
    monkeypatch.setattr(choosing, "_measured", lambda *_: {"loop": seconds["vmap"], "vmap": seconds["loop"]})
    again = scenarios.run(load(tmp_path / "a"))
    assert measured(again).equals(measured(first)) and again.summary["problem"]["per_client"] == way


def test_server_and_clients_agree_whichever_way_each_takes() -> None:
    made = {
        way: prepare(scenario(model={"name": "mlp", "bias": None, **({"per_client": way} if way else {})}), alone=True)
        for way in ("", "auto", "vmap", "loop")
    }
    assert len({setup.source for setup in made.values()}) == 1
    assert made["loop"].source != prepare(scenario()).source


def test_subsets_of_several_sizes_take_two_bytes_a_value_at_most_and_no_indices() -> None:
    s = scenario(method=[METHODS[1]], train={"start": "zero"}, partition={"clients": 40}, rounds=2)
    result = scenarios.run(s)
    messages, values = 2 * 40, 2 * 20 * sum(round(share * 650) for share in (0.02, 0.1))
    assert 8 * messages + values < result.rounds["uplink_bytes"].iloc[-1] < 32 * messages + 2 * values
