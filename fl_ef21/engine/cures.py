"""How a shard fares that has died, and what remains to be done for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fl_ef21.engine.losses import gone

DEATHS = 3  # in a row without getting any further, and a shard is given up


@dataclass
class Lives:
    """How a shard fares.

    Attributes:
      deaths: in a row, none of which came further than `best`.
      reached: how much of what brings it back to where it was this process has done.
    """

    deaths: int = 0
    best: int = -1
    reached: int = 0
    wanted: bool = False  # the next death is one that was asked for

    def died(self) -> int:
        """One more death: how many there were now in a row."""
        if self.wanted:
            self.wanted = False
        elif self.reached > self.best:
            self.deaths, self.best = 1, self.reached
        else:
            self.deaths += 1
        self.reached = 0
        return self.deaths

    def lived(self) -> None:
        """Something new was computed."""
        self.deaths, self.best = 0, -1


@dataclass
class Cure:
    """What remains to be done for a shard.

    Attributes:
      steps: references to wait for, one after another, None for a moment; `now` is the one that is waited for.
      ahead: calls that are asked again and not waited for yet.
    """

    steps: Iterator[Any] = field(default_factory=lambda: iter(()))
    now: Any = None
    waits: bool = False
    ahead: deque[Any] = field(default_factory=deque)


def left(deadline: float | None, most: float | None = None) -> Any:
    """Seconds until then, at most so many; None for ever."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    return most if left is None else left if most is None else min(left, most)


def value(ref: Any) -> Any:
    import ray

    return ray.get(ref)


def done(refs: Sequence[Any] | deque[Any]) -> int:
    """How many of these calls, made in this order to a process that has died, it had done."""
    import ray

    errors: tuple[type[BaseException], ...] = (TimeoutError, *gone())
    for count, ref in enumerate(refs):
        try:
            ray.get(ref, timeout=1.0)
        except errors:
            return count
    return len(refs)
