"""Bytes to a target: the fair question when methods send messages of different sizes.

The target is a value that every method reached, the best of the weakest, or what the uncompressed method came to; what
a method paid is its uplink when it first was there. Methods that diverged have no say in the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

SMOOTH = 5  # evaluations in a median: one lucky dip of a noisy curve reaches no target


def weakest_best(runs: Iterable[DataFrame], column: str) -> float | None:
    """The largest of the methods' smallest finite values of `column`, None where there are none."""
    best = [min((v for v in rounds[column] if math.isfinite(v)), default=None) for rounds in runs]
    return max((v for v in best if v is not None), default=None)


def bytes_to(rounds: DataFrame, column: str, target: float | None) -> int | None:
    """Cumulative uplink bytes when one method's `column` first is <= `target`, None where it never is."""
    if target is None:
        return None
    reached = rounds["uplink_bytes"][rounds[column] <= target]
    return None if reached.empty else int(reached.iloc[0])


def smoothed(rounds: DataFrame, column: str) -> list[tuple[float, int]]:
    """At every evaluation the median of the last `SMOOTH` (of fewer at the start), and the uplink bytes by then.

    An evaluation whose value is missing or not finite is left out.
    """
    seen = [(v, b) for v, b in zip(rounds[column].tolist(), rounds["uplink_bytes"].tolist(), strict=True)
            if math.isfinite(v)]  # fmt: skip
    values = [v for v, _ in seen]
    return [(median(values[max(0, i + 1 - SMOOTH) : i + 1]), int(paid)) for i, (_, paid) in enumerate(seen)]


def frontier(rounds: DataFrame, column: str) -> list[tuple[float, int]]:
    """Every smoothed value lower than all before it, and the uplink bytes when it was reached."""
    found: list[tuple[float, int]] = []
    for level, paid in smoothed(rounds, column):
        if not found or level < found[-1][0]:
            found.append((level, paid))
    return found


def bytes_within(rounds: DataFrame, column: str, target: float) -> int | None:
    """Cumulative uplink bytes when the smoothed `column` first is <= `target`, None where it never is."""
    return next((paid for level, paid in frontier(rounds, column) if level <= target), None)
