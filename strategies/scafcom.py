"""SCAFFOLD, SCALLION and SCAFCOM, server half. Client halves: clients/scafcom.py.

    x <- x - gamma (c / share + g)         by torch.optim; g is still the old one, c / share the mean of who was heard
    g <- g + c                             c = sum_i w_i c_i over them, share = sum_i w_i: who was not heard sent 0

With everybody heard the step is along the new g, as in strategies/ef21.py. gamma is the papers' eta_g eta_l K.

Reference: Huang, Li, Li. Stochastic Controlled Averaging for Federated Learning with Communication Compression. ICLR
2024 (arXiv 2308.08165), Algorithms 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i, the papers' c
    ahead: Vector  # (d,) float64, what the model is stepped along


@dataclass(frozen=True)
class SCAFCOM:
    """Steps by what was heard, remembers what everybody is believed to have.

    Attributes:
      share: weight of the clients that were heard, in (0, 1].
    """

    share: float

    remembers: ClassVar[bool] = True

    def start(self, zero: Vector) -> State:
        return State(g=zero, ahead=zero)

    def direction(self, s: State) -> Vector:
        """(d,), the gradient that the optimizer is given."""
        return s.ahead

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        ahead = c / self.share + s.g
        g = s.g + c
        return State(g, ahead)
