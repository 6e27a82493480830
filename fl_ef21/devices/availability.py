"""When a device is there: stretches on and off in turn, each exponential, a function of (seed, client) alone."""

from __future__ import annotations

import numpy as np

from fl_ef21 import randomness
from fl_ef21.blocks import Array

_TOGETHER = 64  # stretches drawn in one go


class Stretches:
    """Of one client. What was drawn is kept, so that a later question costs a search."""

    def __init__(self, seed: int, client: int, on: float, off: float) -> None:
        """on, off: mean seconds, > 0."""
        self._seed, self._client, self._means, self._drawn = seed, client, (on, off), 0
        first = float(randomness.uniform(randomness.key(seed, "availability.first", client), 1)[0, 0])
        self._begins_off = first * (on + off) >= on
        self._ends = np.zeros(1)  # of each stretch, after a first one of length 0

    def next_on(self, time: float) -> float:
        """`time` if the client is there, else when it comes back."""
        while self._ends[-1] <= time:
            self._draw()
        at = int(np.searchsorted(self._ends, time, side="right"))
        return float(self._ends[at]) if self._off(at) else time

    def _off(self, number: int) -> bool:
        return (number % 2 == 1) == self._begins_off

    def _draw(self) -> None:
        key = randomness.key(self._seed, "availability", self._client, self._drawn)
        uniform = randomness.uniform(key, _TOGETHER)[0].numpy()
        numbers = range(len(self._ends), len(self._ends) + _TOGETHER)
        means: Array = np.array([self._means[self._off(number)] for number in numbers])
        lengths = np.maximum(-np.log1p(-uniform) * means, 1e-9)
        self._ends = np.append(self._ends, self._ends[-1] + np.cumsum(lengths))
        self._drawn += 1
