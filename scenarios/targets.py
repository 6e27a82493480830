"""What a target cost: the fair question when methods send messages of different sizes and devices take their time.

The target is a value that every method reached, the best of the weakest, or what the uncompressed method came to; what
a method paid is its uplink, or its virtual time, when it first was there. Methods that diverged have no say in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

SMOOTH = 5  # evaluations in a median: one lucky dip of a noisy curve reaches no target
RISING = frozenset({"test_accuracy"})  # columns in which more is better
UPLINK = "uplink_bytes"


def weakest_best(runs: Iterable[DataFrame], column: str) -> float | None:
    """The worst of the methods' best finite values of `column`, None where there are none."""
    best = [_best(column, [v for v in rounds[column] if math.isfinite(v)]) for rounds in runs]
    found = [v for v in best if v is not None]
    return None if not found else min(found) if column in RISING else max(found)


def _best(column: str, values: list[float]) -> float | None:
    return (max if column in RISING else min)(values, default=None)


def bytes_to(rounds: DataFrame, column: str, target: float | None) -> int | None:
    """Cumulative uplink bytes when one method's `column` first is <= `target`, None where it never is."""
    if target is None:
        return None
    reached = rounds[UPLINK][rounds[column] <= target]
    return None if reached.empty else int(reached.iloc[0])


def smoothed(rounds: DataFrame, column: str, cost: str = UPLINK) -> list[tuple[float, float]]:
    """At every evaluation the median of the last `SMOOTH` (of fewer at the start), and the `cost` by then.

    `cost` is a cumulative column. An evaluation whose value or cost is missing or not finite is left out.
    """
    seen = [(v, c) for v, c in zip(rounds[column].tolist(), rounds[cost].tolist(), strict=True)
            if math.isfinite(v) and math.isfinite(c)]  # fmt: skip
    values = [v for v, _ in seen]
    return [(median(values[max(0, i + 1 - SMOOTH) : i + 1]), paid) for i, (_, paid) in enumerate(seen)]


def frontier(rounds: DataFrame, column: str, cost: str = UPLINK) -> list[tuple[float, float]]:
    """Every smoothed value better than all before it, and the `cost` when it was reached."""
    found: list[tuple[float, float]] = []
    for level, paid in smoothed(rounds, column, cost):
        if not found or (level > found[-1][0] if column in RISING else level < found[-1][0]):
            found.append((level, paid))
    return found


def cost_within(rounds: DataFrame, column: str, target: float, cost: str = UPLINK) -> float | None:
    """`cost` when the smoothed `column` first is at least as good as `target`, None where it never is.

    With "test_accuracy" and "virtual_seconds" this is the time to accuracy, with "uplink_bytes" the bytes to accuracy.
    """
    there = (paid for v, paid in frontier(rounds, column, cost) if (v >= target if column in RISING else v <= target))
    return next(there, None)
