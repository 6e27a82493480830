"""Bytes to a target: the fair question when methods send messages of different sizes.

The target is a value that every method reached, the best of the weakest; what a method paid is its
uplink when it first was there. Methods that diverged have no say in the target.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


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
