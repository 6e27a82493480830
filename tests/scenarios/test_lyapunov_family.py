"""Every method of the family under the panel of theory: it answers, and goes the way it would have gone."""

from __future__ import annotations

import pytest

import scenarios
from scenarios.lyapunov import COLUMNS
from tests.family import CASES
from tests.oracles.given import Case
from tests.small import scenario

BLIND = (
    "compressed-sgd", "ef14", "ef14-momentum", "neolithic", "fed-ef", "fedavg", "fedprox", "ef21-sgd-ideal",
    "ef21-sgdm-ideal",
)  # fmt: skip


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.method.get("label", c.method["name"])))
def test_every_method_can_be_watched(case: Case) -> None:
    train = {"batch_size": 2, "dtype": "float64", "start": "zero"} | case.train
    runs = [
        scenarios.run(scenario(
            method=[case.method], partition={"clients": 4}, train=train, rounds=3, model={"name": "logistic-nonconvex"},
            evaluate={"every": 1, "theory": watched},
        )).rounds
        for watched in (False, True)
    ]  # fmt: skip
    plain, seen = (rounds.drop(columns=["wall_seconds", *COLUMNS]) for rounds in runs)
    assert seen.equals(plain)
    told = runs[1]["compression_error"].iloc[1:].notna()
    assert told.all() or case.method["name"] in BLIND
