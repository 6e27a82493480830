"""Where client state lies changes memory and speed, never a number; bfloat16 momenta change numbers a little."""

from __future__ import annotations

from typing import Any

import pytest
from pandas import DataFrame

import scenarios
from scenarios.results import Result
from tests.small import ALL_METHODS, scenario

SEVERAL_TILES = {"clients": 80}  # of ten clients, 0.15 MiB of state under ef21-sgd2m
FEW_TILES = 0.001  # GiB, over all shards; everything together is 1.2 MiB


def run(**changes: Any) -> Result:
    base: dict[str, Any] = {"method": ALL_METHODS, "partition": SEVERAL_TILES, "train": {"participation": 0.7}}
    return scenarios.run(scenario(**(base | changes)))


def numbers(result: Result) -> DataFrame:
    return result.rounds.drop(columns="wall_seconds")


@pytest.fixture(scope="module")
def in_memory() -> Result:
    return run()


def test_small_runs_keep_state_in_memory(in_memory: Result) -> None:
    assert in_memory.summary["memory"]["state"] == "host"


@pytest.mark.parametrize("engine", [
    {"actors": 0, "state": "device"},
    {"actors": 0, "state": "mapped"},
    {"actors": 0, "state": "mapped", "memory_gib": FEW_TILES},
    {"actors": 0, "memory_gib": FEW_TILES},
    pytest.param({"actors": 2, "state": "mapped", "memory_gib": FEW_TILES}, marks=pytest.mark.system),
], ids=str)  # fmt: skip
def test_state_in_files_gives_the_same_numbers_bitwise(in_memory: Result, engine: dict[str, Any]) -> None:
    result = run(engine=engine)
    assert result.summary["memory"]["state"] == engine.get("state", "mapped")
    assert numbers(result).equals(numbers(in_memory))


@pytest.mark.parametrize("engine", [
    {"actors": 0, "state": "mapped", "memory_gib": FEW_TILES},
    pytest.param({"actors": 2}, marks=pytest.mark.system),
], ids=str)  # fmt: skip
def test_bfloat16_momenta_are_the_same_everywhere_too(engine: dict[str, Any]) -> None:
    train = {"momentum_dtype": "bfloat16", "participation": 0.7}
    rounded = run(train=train)
    assert numbers(run(train=train, engine=engine)).equals(numbers(rounded))
    assert rounded.summary["memory"]["state_bytes"] == 80 * 2 * 650 * (2 + 2 + 4)


def test_training_with_bfloat16_momenta_ends_where_float32_does_and_keeps_the_invariant() -> None:
    """Within a quarter of |grad f|^2; ef21-sgd has no momentum, so nothing of it changes."""
    changes: dict[str, Any] = {"method": ALL_METHODS[3:], "rounds": 100, "evaluate": {"every": 10}}
    changes["partition"] = {"clients": 20}
    full, half = run(**changes), run(**changes, train={"momentum_dtype": "bfloat16", "participation": 0.7})
    labels = [method["label"] for method in full.summary["methods"]]
    ends = {label: [one.of(label)["grad_norm_sq"].tail(5).mean() for one in (full, half)] for label in labels}
    assert ends["ef21-sgd"][0] == ends["ef21-sgd"][1]
    for label in labels[1:]:
        assert ends[label][0] != ends[label][1]
        assert 0.8 < ends[label][1] / ends[label][0] < 1.25
    assert half.rounds["invariant_error"].max() < 1e-6
