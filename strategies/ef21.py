"""The EF21 family, server half. Client halves: clients/ef21.py, clients/ef21_sgd2m.py.

    g <- g + sum_i w_i c_i         so g = sum_i w_i g_i, always
    x <- x - gamma g               by torch.optim, with g as the gradient: strategies/descent.py

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023,
Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i


@dataclass(frozen=True)
class EF21:
    """Adds the increments to what it remembers; a client that was not heard sent c = 0."""

    remembers: ClassVar[bool] = True

    def start(self, zero: Vector) -> State:
        return State(g=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        g = s.g + c
        return State(g)
