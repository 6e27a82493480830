"""What a trial came to, from the files of its run folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scenarios.recorder import ROUNDS, read_lines
from scenarios.study.form import Study
from scenarios.tally import NO_QUORUM, Row
from scenarios.targets import SMOOTH

FIGURES = ("test_accuracy", "train_loss", "grad_norm_sq", "uplink_bytes", "downlink_bytes", "virtual_seconds")
OVER = ("finished", "failed")  # of a run, which has one method


@dataclass(frozen=True)
class Reached:
    """Attributes:
    status: of the method; "missing" where its run is not over.
    figures: the last evaluation, FIGURES; NaN where nobody measured.
    bytes_to_accuracy, seconds_to_accuracy: when the median of the last 5 evaluations first was at the target, inf
      where it never was; NaN without a target.
    """

    status: str
    rounds: int
    figures: dict[str, float]
    bytes_to_accuracy: float
    seconds_to_accuracy: float
    wall_seconds: float

    @property
    def sound(self) -> bool:
        """Whether its figures can be set against others'."""
        return self.status in ("finished", "stopped")

    def value(self, objective: str) -> float:
        """NaN where the trial is not sound."""
        if not self.sound:
            return math.nan
        return getattr(self, objective) if objective.endswith("_to_accuracy") else self.figures[objective]


def over(folder: Path) -> bool:
    """Whether there is nothing left to do: it ended, or too few clients answered, which they would not do again."""
    path = folder / "summary.json"
    if not path.is_file():
        return False
    told = json.loads(path.read_text())
    short = any(str(method.get("reason") or "").startswith(NO_QUORUM) for method in told.get("methods", ()))
    return told.get("status") in OVER or short


def reached(folder: Path, target: float | None) -> Reached:
    """Of the trial in a run folder; of one that is not over, as far as it went."""
    rows = read_lines(folder / ROUNDS)
    method: dict[str, Any] = {"status": "missing", "rounds": rows[-1]["round"] if rows else 0}
    if over(folder):
        method = (json.loads((folder / "summary.json").read_text())["methods"] or [{}])[0]
    last = rows[-1] if rows else {}
    paid, waited = (_when(rows, key, target) for key in ("uplink_bytes", "virtual_seconds"))
    return Reached(
        str(method.get("status", "failed")), int(method.get("rounds") or 0),
        {name: _number(last.get(name)) for name in FIGURES}, paid, waited, _number(method.get("wall_seconds")),
    )  # fmt: skip


def at(folder: Path, every: int, study: Study, limit: float) -> float:
    """The objective at the last due evaluation within `limit` of the pruning axis; NaN where it came to nothing.

    A function of the trial's course alone, wherever it is by now: what a paused run was evaluated out of turn counts
    for nothing, nor does what became of it beyond `limit`.
    """
    assert study.prune is not None
    axis = study.prune.axis
    if over(folder) and not reached(folder, None).sound:
        methods = json.loads((folder / "summary.json").read_text())["methods"]
        if not methods or _number(methods[0]["rounds" if axis == "round" else axis]) <= limit:
            return math.nan
    rows = [row for row in read_lines(folder / ROUNDS) if row["round"] % every == 0]
    within = [row for row in rows if _number(row[axis]) <= limit]
    return _number(within[-1][study.objective]) if within else math.nan


def been(folder: Path, axis: str, limit: float) -> bool:
    """Whether a trial has gone as far as `limit`, or is over."""
    return over(folder) or any(_number(row[axis]) >= limit for row in read_lines(folder / ROUNDS))


def _when(rows: Sequence[Row], axis: str, target: float | None) -> float:
    if target is None:
        return math.nan
    seen = [(row["test_accuracy"], _number(row[axis])) for row in rows if row["test_accuracy"] is not None]
    for i in range(len(seen)):
        if median(value for value, _ in seen[max(0, i + 1 - SMOOTH) : i + 1]) >= target:
            return seen[i][1]
    return math.inf


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
