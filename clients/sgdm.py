"""SGD with momentum on the clients and without compression. Server half: strategies/mean.py.

    v <- (1 - eta) v + eta q
    c <- v

eta = 1 is plain distributed SGD. The server's steps are those of Polyak's heavy ball with step size
gamma eta and momentum 1 - eta.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # momentum


@dataclass(frozen=True)
class SGDM:
    """Uncompressed SGD with momentum. Attributes: eta, weight of the new gradient, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = True

    def start(self, q: Vector) -> State:
        return State(v=q)

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        return State(v), C(v)
