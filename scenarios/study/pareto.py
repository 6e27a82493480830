"""What no other beats in everything."""

from __future__ import annotations

import math
from collections.abc import Sequence


def front(points: Sequence[Sequence[float]]) -> list[bool]:
    """For each point whether it is on the front, all axes the smaller the better.

    A point that is not finite is not on it; of equal ones all are. An axis that some point lacks is for the caller to
    leave out.
    """
    sound = [all(map(math.isfinite, point)) for point in points]
    return [
        ok and not any(good and beats(other, point) for other, good in zip(points, sound, strict=True))
        for point, ok in zip(points, sound, strict=True)
    ]


def beats(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is nowhere worse than b and somewhere better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))
