"""The whole family gives the same numbers on actors and on Flower's own simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scenarios
from scenarios.results import Result
from scenarios.schema import Scenario
from tests.family import CASES
from tests.small import scenario

pytestmark = [pytest.mark.system, pytest.mark.nightly]
MEASURED = ["train_loss", "grad_norm_sq", "test_accuracy", "uplink_bytes", "downlink_bytes", "participants", "rejected"]
ALONE = [case for case in CASES if not case.train]  # they share what [train] says


def family(**changes: Any) -> Scenario:
    methods = [case.method | {"label": f"{number} {case}"} for number, case in enumerate(ALONE)]
    return scenario(method=methods, partition={"clients": 80}, rounds=4, train={"participation": 0.5}, **changes)


@pytest.fixture(scope="module")
def in_process() -> Result:
    return scenarios.run(family())


def test_two_actors_give_the_same_numbers_bitwise(in_process: Result) -> None:
    spread = scenarios.run(family(engine={"actors": 2, "cpus_per_actor": 0.5}))
    assert spread.rounds[["method", "round", *MEASURED]].equals(in_process.rounds[["method", "round", *MEASURED]])


@pytest.mark.parametrize(
    "name", ["ef21-mvr", "scafcom", "marina", "dasha-pp", "ef21-bc", "ef21-w", "diana", "neolithic"]
)
def test_flowers_own_simulation_gives_the_same_trajectory(name: str, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.method["name"] == name)
    train = {"participation": 0.5, "dtype": "float64"} | case.train
    ours = scenarios.run(scenario(method=[case.method], train=train, rounds=4)).rounds
    there = scenario(method=[case.method], train=train, rounds=4, engine={"actors": 2})
    theirs = scenarios.run(there, runtime="flower", out=tmp_path / "run").rounds
    assert ours["uplink_bytes"].equals(theirs["uplink_bytes"])
    assert np.allclose(ours[MEASURED].astype(float), theirs[MEASURED].astype(float), rtol=1e-9, atol=1e-12)
