"""The mean of what was sent, server half. Client halves: clients/sgdm.py, clients/compressed_sgd.py.

g <- sum_i w_i c_i
x <- x - gamma g               by torch.optim, with g as the gradient: strategies/descent.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, this round's mean


@dataclass(frozen=True)
class Mean:
    """Remembers nothing, so with participation p the weights are w_i / p."""

    remembers: ClassVar[bool] = False

    def start(self, zero: Vector) -> State:
        return State(g=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        return State(g=c)
