"""Normalised EF21 methods, server half. Client halves: clients/normalised.py.

    g <- g + sum_i w_i c_i         so g = sum_i w_i g_i, always
    x <- x - gamma g / |g|         and no step where g = 0

The length of a step is gamma whatever the gradient's scale, so gamma and eta need no constant of the problem.

References: Khirirat, Sadiev, Riabinin, Gorbunov, Richtarik. Error Feedback under (L0, L1)-Smoothness: Normalization
and Momentum. 2024 (arXiv 2410.16871), Algorithm ||EF21-SGDM||. With schedules (2 / (t + 2))^q: arXiv 2511.14501.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i


@dataclass(frozen=True)
class Normalised:
    """EF21 whose steps have the length gamma."""

    remembers: ClassVar[bool] = True

    def start(self, zero: Vector) -> State:
        return State(g=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        g = s.g + c
        return State(g)

    def direction(self, s: State) -> Vector:
        """g / |g|, (d,) float64; zeros where g is zero."""
        length = s.g.norm()
        return s.g if length == 0 else s.g / length
