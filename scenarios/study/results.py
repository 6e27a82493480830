"""What a study showed: its trials, a row for each method in each setting, and what is unfair in it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.folder import place, put
from scenarios.study import unfair
from scenarios.study.bootstrap import Mean, interval
from scenarios.study.form import TO_TARGET, Study
from scenarios.study.lines import Candidate, Race
from scenarios.study.pareto import front
from scenarios.study.plan import Arm
from scenarios.study.reached import Reached, reached

if TYPE_CHECKING:
    from pandas import DataFrame

TABLE, ALL, SUMMARY, PAGE = "table.csv", "results.parquet", "summary.json", "study.html"
PICTURE = "study.svg"
COSTS = (("uplink_bytes", 1), ("virtual_seconds", 1))
MEANS = ("test_accuracy", "train_loss", "grad_norm_sq", "uplink_bytes", "downlink_bytes", "virtual_seconds")


@dataclass(frozen=True)
class Tried:
    """A candidate and what its trials came to, seed by seed."""

    candidate: Candidate
    reached: Sequence[Reached]

    def values(self, figure: str) -> dict[int, float]:
        """By seed, of the trials that are sound and have it."""
        told = {t.seed: r.value(figure) for t, r in zip(self.candidate.trials, self.reached, strict=True)}
        return {seed: value for seed, value in told.items() if not math.isnan(value)}


@dataclass(frozen=True)
class Row:
    """A method in one setting, with the best of its candidates.

    Attributes:
      means: by figure.
      difference: of the objective to the baseline's in this setting, over the seeds that both have; None without one.
      tried: all its candidates; spent: rounds of all their trials.
      front: whether no other method of the setting has a better accuracy for fewer bytes and less time.
    """

    arm: Arm
    best: Tried
    means: Mapping[str, Mean]
    difference: Mean | None
    tried: Sequence[Tried]
    spent: int
    front: bool

    @property
    def diverged(self) -> float:
        """Share of the best candidate's trials."""
        return sum(r.status == "diverged" for r in self.best.reached) / len(self.best.reached)


@dataclass(frozen=True)
class Results:
    """Attributes:
    rows: in the study's order.
    warnings: sentences about what makes a comparison unfair.
    """

    study: Study
    rows: Sequence[Row]
    warnings: Sequence[str]
    keys: tuple[str, ...]

    def trials(self) -> DataFrame:
        """A row for each trial of each method and setting; a trial that several settings share is in each."""
        from pandas import DataFrame

        return DataFrame([line for row in self.rows for tried in row.tried for line in self._lines(row, tried)])

    def table(self) -> DataFrame:
        """A row for each method and setting; no time of day or machine is in it."""
        from pandas import DataFrame

        return DataFrame([self._row(row) for row in self.rows])

    def save(self, out: Path, seconds: float) -> None:
        """The files of the study's folder."""
        from io import BytesIO

        from scenarios.study import drawing, page

        body = BytesIO()
        self.trials().to_parquet(body, index=False)
        place(out / ALL, body.getvalue())
        put(out / TABLE, self.table().to_csv(index=False))
        page.write(self, out / PAGE)
        objective = "test_accuracy" if self.study.objective in TO_TARGET else self.study.objective
        if picture := drawing.against(self.rows, objective, "uplink_bytes", alone=True):
            put(out / PICTURE, picture)
        put(out / SUMMARY, json.dumps(self.summary() | {"wall_seconds": round(seconds, 3)}, indent=1) + "\n")

    def summary(self) -> dict[str, Any]:
        """Fit for JSON: the table with null where a number is not finite, and the warnings."""
        plain = [{key: _plain(value) for key, value in self._row(row).items()} for row in self.rows]
        return {
            "name": self.study.name,
            "objective": self.study.objective,
            "warnings": list(self.warnings),
            "rows": plain,
        }

    def _changed(self, arm: Arm) -> dict[str, Any]:
        told = {**arm.setting, **arm.options}
        return {key: _scalar(told.get(key)) for key in self.keys}

    def _lines(self, row: Row, tried: Tried) -> list[dict[str, Any]]:
        candidate, lines = tried.candidate, []
        for trial, one in zip(candidate.trials, tried.reached, strict=True):
            chosen = {f"tuned {key}": _scalar(value) for key, value in candidate.changes.items()}
            lines.append({
                **self._changed(row.arm), "method": row.arm.label, "candidate": candidate.number, **chosen,
                "best": tried is row.best, "seed": trial.seed, "trial": trial.id, "gamma": trial.gamma,
                "status": "pruned" if candidate.pruned is not None else one.status, "rounds": one.rounds, **one.figures,
                "bytes_to_accuracy": one.bytes_to_accuracy, "seconds_to_accuracy": one.seconds_to_accuracy,
                "wall_seconds": one.wall_seconds,
            })  # fmt: skip
        return lines

    def _row(self, row: Row) -> dict[str, Any]:
        chosen = {f"tuned {key}": _scalar(value) for key, value in row.best.candidate.changes.items()}
        found: dict[str, Any] = {
            **self._changed(row.arm), "method": row.arm.label, "gamma": row.best.candidate.trials[0].gamma, **chosen,
            "seeds": row.means[self.study.objective].n,
        }  # fmt: skip
        for name, mean in row.means.items():
            found |= {name: mean.mean, f"{name} low": mean.low, f"{name} high": mean.high}
        if row.difference is not None:
            d = row.difference
            found |= {"difference": d.mean, "difference low": d.low, "difference high": d.high, "pairs": d.n}
        return found | {
            "diverged": row.diverged, "candidates": len(row.tried), "rounds spent": row.spent, "front": row.front,
        }  # fmt: skip


def collect(race: Race, folder: Path) -> Results:
    """From the run folders of a study's trials."""
    study, tried = race.study, dict[int, list[Tried]]()
    for candidate in race.candidates:
        found = [reached(folder / trial.id, study.target) for trial in candidate.trials]
        tried.setdefault(id(candidate.arm), []).append(Tried(candidate, found))
    best = {at: _best(race, some) for at, some in tried.items()}
    base = {json.dumps(a.setting, sort_keys=True): best[id(a)] for a in race.plan.arms if a.label == study.baseline}
    rows = []
    for arm in race.plan.arms:
        mine, against = best[id(arm)], base.get(json.dumps(arm.setting, sort_keys=True))
        difference = None if against is None or arm.label == study.baseline else _difference(study, mine, against)
        spent = sum(one.rounds for some in tried[id(arm)] for one in some.reached)
        rows.append(Row(arm, mine, _means(study, mine), difference, tried[id(arm)], spent, False))
    rows = _fronts(rows)
    keys = (*race.plan.problem_keys, *race.plan.method_keys)
    return Results(study, rows, unfair.warnings(study, rows), keys)


def _best(race: Race, tried: Sequence[Tried]) -> Tried:
    """Of those that ran to their end, else the first."""
    whole = [one for one in tried if one.candidate.pruned is None]
    return min(whole, key=lambda one: (race.score(one.candidate), one.candidate.number))


def _means(study: Study, tried: Tried) -> dict[str, Mean]:
    figures = [*MEANS, *(TO_TARGET if study.target is not None else ())]
    found = {name: interval(list(tried.values(name).values())) for name in figures}
    return {name: mean for name, mean in found.items() if mean.n or name == study.objective}


def _difference(study: Study, mine: Tried, base: Tried) -> Mean:
    """Over the seeds that both have, for the same samples and draws are behind them."""
    a, b = mine.values(study.objective), base.values(study.objective)
    return interval([a[s] - b[s] for s in a if s in b and math.isfinite(a[s]) and math.isfinite(b[s])])


def _fronts(rows: Sequence[Row]) -> list[Row]:
    """With what is on the front of accuracy (else loss), uplink bytes and virtual seconds, setting by setting."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(json.dumps(row.arm.setting, sort_keys=True), []).append(i)
    on = [False] * len(rows)
    for members in groups.values():
        for i, flag in zip(members, front(points([rows[i] for i in members])), strict=True):
            on[i] = flag
    return [replace(row, front=flag) for row, flag in zip(rows, on, strict=True)]


def points(rows: Sequence[Row]) -> list[list[float]]:
    """What the front is about, all the smaller the better; an axis that nobody has is left out."""
    best = ("test_accuracy", -1) if any("test_accuracy" in row.means for row in rows) else ("train_loss", 1)
    axes = [(name, sign) for name, sign in (best, *COSTS) if any(name in row.means for row in rows)]
    return [[sign * row.means[name].mean if name in row.means else math.inf for name, sign in axes] for row in rows]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
