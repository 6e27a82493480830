"""EF21-HB, server half: heavy ball momentum at the server. Client half: clients/ef21_hb.py.

    g <- g + sum_i w_i c_i         so g = sum_i w_i g_i, always
    m <- beta m + g                momentum, whose steps are 1 / (1 - beta) times as long in the end
    x <- x - gamma m

beta = 0 is EF21. As torch.optim.SGD with that momentum, but a part of the method: the server's image has m.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294),
Algorithm EF21-HB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i
    m: Vector  # (d,) float64, momentum


@dataclass(frozen=True)
class HeavyBall:
    """Attributes: beta, how much of the last step is made again, in [0, 1). Raises: InputError where it is not."""

    beta: float = 0.9

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise InputError("beta", self.beta, "must lie in [0, 1)")

    def start(self, zero: Vector) -> State:
        return State(g=zero, m=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        g = s.g + c
        m = self.beta * s.m + g
        return State(g, m)

    def direction(self, s: State) -> Vector:
        return s.m
