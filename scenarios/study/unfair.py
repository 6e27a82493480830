"""What makes a comparison unfair, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scenarios.study.form import Study

if TYPE_CHECKING:
    from scenarios.study.results import Row

FEW = 5  # seeds, below which an interval is told to be narrow
NAMED = 4


def warnings(study: Study, rows: Sequence[Row]) -> list[str]:
    """None where all is well."""
    found = [*_effort(rows), *_edges(study, rows), *_missing(study, rows), *_diverged(rows), *_length(study, rows)]
    if len(study.seeds) == 1:
        found.append("There is one seed: nothing is known of how much another would change.")
    elif len(study.seeds) < FEW:
        told = f"Intervals are over {len(study.seeds)} seeds"
        found.append(
            f"{told}: they reach from about the least to the largest value, and miss the mean more often than 5 %."
        )
    return found


def _effort(rows: Sequence[Row]) -> list[str]:
    effort: dict[int, list[Row]] = {}
    for row in rows:
        effort.setdefault(len(row.tried), []).append(row)
    if len(effort) < 2:
        return []
    told = ", ".join(f"{n} for {_names(some)}" for n, some in sorted(effort.items()))
    return [f"Tuning effort is not equal: candidates were {told}."]


def _edges(study: Study, rows: Sequence[Row]) -> list[str]:
    gammas = sorted(study.gammas)
    if len(gammas) < 2:
        return []
    found = []
    for edge, word in ((gammas[0], "smallest"), (gammas[-1], "largest")):
        at = [row for row in rows if row.best.candidate.changes.get("method.gamma") == edge]
        if at:
            found.append(
                f"The best step size is the {word} of the grid, {edge:g}, for {_names(at)}: a wider one may do better."
            )
    return found


def _missing(study: Study, rows: Sequence[Row]) -> list[str]:
    lacking = [
        row for row in rows if any(one.status in ("missing", "failed", "interrupted") for one in row.best.reached)
    ]
    return [f"Seeds are missing, as their runs failed, for {_names(lacking)}."] if lacking else []


def _diverged(rows: Sequence[Row]) -> list[str]:
    some = [row for row in rows if row.diverged]
    if not some:
        return []
    told = ", ".join(f"{row.diverged:.0%} of {_name(row)}" for row in some[:NAMED])
    more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
    return [f"Runs diverged even with the best candidate: {told}{more}. Means are over the others."]


def _length(study: Study, rows: Sequence[Row]) -> list[str]:
    """Methods that ended after different numbers of rounds without a budget that says so."""
    budget = study.budget
    if budget.uplink_bytes is not None or budget.virtual_seconds is not None:
        return []
    short = []
    for row in rows:
        rounds = [one.rounds for one in row.best.reached if one.sound]
        if rounds and min(rounds) < row.arm.scenario.rounds:
            short.append(row)
    if not short or len(short) == len(rows):
        return []
    return [
        f"A stop rule ended runs of {_names(short)} before their last round and not those of others: "
        "they are compared after different numbers of rounds."
    ]


def _names(rows: Iterable[Row]) -> str:
    names = list(dict.fromkeys(map(_name, rows)))
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _name(row: Row) -> str:
    return f"{row.arm.name} ({row.arm.where})" if row.arm.where else row.arm.name
