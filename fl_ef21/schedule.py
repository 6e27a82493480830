"""Step sizes and momenta that may decay: value / (1 + (round - 1) / tau)^power."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A number per round.

    Attributes:
      value: the number in round 1.
      power: how fast it falls, >= 0; 0 is constant, 1/2 falls like 1/sqrt(round).
      tau: rounds before the fall begins to show, > 0.
    """

    value: float
    power: float = 0.0
    tau: float = 1.0

    def __call__(self, round: int) -> float:
        if self.power == 0:
            return self.value
        return float(self.value / (1 + (round - 1) / self.tau) ** self.power)

    def __str__(self) -> str:
        if self.power == 0:
            return f"{self.value:g}"
        return f"{self.value:g} / (1 + (r - 1)/{self.tau:g})^{self.power:g}"
