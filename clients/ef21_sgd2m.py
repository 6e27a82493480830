"""EF21-SGD2M (double momentum), client half. Server half: strategies/ef21.py.

    v <- (1 - eta) v + eta q
    u <- (1 - eta) u + eta v       the new v
    c <- C(u - g)
    g <- g + c

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023,
the double momentum variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # momentum
    u: Vector  # momentum of the momentum
    g: Vector  # the server's estimate of this client's gradient


@dataclass(frozen=True)
class EF21SGD2M:
    """EF21 with momentum applied twice. Attributes: eta, weight of the new vector, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True

    def start(self, q: Vector) -> State:
        return State(v=q, u=q, g=q)

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        u = (1 - self.eta) * s.u + self.eta * v
        c = C(u - s.g)
        g = s.g + c
        return State(v, u, g), c
