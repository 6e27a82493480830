"""When to take a cut: seldom enough to cost little, often enough to lose little."""

from __future__ import annotations

SHARE = 1 / 30  # of the time that cuts may take
SOON, LATE = 10.0, 300.0  # seconds of work between two cuts, at the least and, unless a cut is very dear, at the most
DEAREST = 1 / 5  # of the time, whatever is lost otherwise


class Cadence:
    """Decides after every round. `every`: rounds between two cuts; None leaves it to what they cost."""

    def __init__(self, every: int | None, now: float) -> None:
        self.every, self._last, self._cost, self._round = every, now, 0.0, 0

    def due(self, round: int, now: float) -> bool:
        """Whether a cut is due after this round; seconds of any clock that only goes forward."""
        if self.every is not None:
            return round % self.every == 0
        return now - self._last >= self.wait

    @property
    def wait(self) -> float:
        """Seconds of work between two cuts."""
        return max(self._cost / DEAREST, min(LATE, max(SOON, self._cost / SHARE)))

    def taken(self, began: float, now: float) -> None:
        """A cut was taken between these times."""
        self._last, self._cost = now, now - began
