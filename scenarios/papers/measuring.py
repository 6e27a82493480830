"""A claim's figure, seed by seed, from the run folders of a study."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from fl_ef21.errors import InputError, nearest
from scenarios.papers.form import Claim
from scenarios.recorder import ROUNDS, read_lines
from scenarios.study.results import Results, Row, Tried
from scenarios.targets import SMOOTH

BITS = "uplink_algorithm_bits"
RISING = ("test_accuracy",)


def figures(claim: Claim, arm: Mapping[str, Any], found: Results, trials: Path) -> dict[int, float]:
    """By seed, with the step size that is best in it. Raises: InputError where no method or several are meant."""
    tried = [one for one in _row(arm, found.rows).tried if one.candidate.pruned is None]
    told = [_of(claim, one, trials) for one in tried]
    return min(told, key=lambda values: _worth(claim, values))


def figure(claim: Claim, folder: Path, rounds: int) -> float:
    """Of one run. One that diverged has the worst there can be.

    rounds: of the whole run, which the second half is counted by.
    """
    status = json.loads((folder / "summary.json").read_text())["methods"][0]["status"]
    if claim.figure == "diverged":
        return float(status == "diverged")
    rows = read_lines(folder / ROUNDS)
    if claim.figure == "bits_to_loss":
        return _bits(rows, claim.target)
    if status == "diverged" and claim.when != "least":
        return -math.inf if claim.figure in RISING else math.inf
    seen = [(row["round"], float(row[claim.figure])) for row in rows if row[claim.figure] is not None]
    if claim.when == "tail":
        return fmean(value for at, value in seen if at > rounds / 2)
    return min(value for _, value in seen) if claim.when == "least" else seen[-1][1]


def _bits(rows: Sequence[Mapping[str, Any]], target: float | None) -> float:
    """When the median of the last evaluations was at the target first."""
    assert target is not None
    losses = [row["train_loss"] for row in rows]
    for i in range(len(rows)):
        if median(losses[max(0, i + 1 - SMOOTH) : i + 1]) <= target:
            return float(rows[i][BITS])
    return math.inf


def _of(claim: Claim, one: Tried, trials: Path) -> dict[int, float]:
    return {t.seed: figure(claim, trials / t.id, t.scenario.rounds) for t in one.candidate.trials}


def _worth(claim: Claim, values: Mapping[int, float]) -> float:
    mean = fmean(values.values())
    return -mean if claim.figure in RISING else mean


def _row(arm: Mapping[str, Any], rows: Sequence[Row]) -> Row:
    label = arm.get("method")
    found = [row for row in rows if row.arm.label == label and _agrees(arm, row)]
    if len(found) == 1:
        return found[0]
    labels = list(dict.fromkeys(row.arm.label for row in rows))
    what = f"means {len(found)} methods of the study" if found else "is nowhere in the study"
    raise InputError("claim.of", json.dumps(dict(arm)), f"{what}; {nearest(str(label), labels)}")


def _agrees(arm: Mapping[str, Any], row: Row) -> bool:
    told = {**row.arm.setting, **row.arm.options}
    return all(told.get(key) == value for key, value in arm.items() if key != "method")
