"""EF14, server half. Client half: clients/ef14.py.

    x <- x - sum_i w_i c_i         the clients have put gamma inside c_i already

As the optimizer multiplies by gamma, its gradient is g = (1 / gamma) sum_i w_i c_i, which also gives
Adam and Muon a gradient of the usual size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, this round's mean over gamma


@dataclass(frozen=True)
class EF14:
    """Steps by the mean message. Attributes: gamma, the step size the clients used, > 0."""

    gamma: float

    remembers: ClassVar[bool] = False

    def start(self, zero: Vector) -> State:
        return State(g=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        return State(g=c / self.gamma)
