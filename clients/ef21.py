"""EF21-SGDM and EF21-SGD, client half. Server half: strategies/ef21.py.

    v <- (1 - eta) v + eta q       momentum; q is the stochastic gradient at the received model
    c <- C(v - g)                  the message, the only upload
    g <- g + c                     error state: the server's estimate of this client's gradient

The new state is staged, and becomes real once the server has c: fl_ef21/commit.py.

References: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023,
Algorithm 1. EF21 is eta = 1: Richtarik, Sokolov, Fatkhullin. NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # momentum
    g: Vector  # the server's estimate of this client's gradient


@dataclass(frozen=True)
class EF21SGDM:
    """EF21 with momentum on the client. Attributes: eta, weight of the new gradient, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True

    def start(self, q: Vector) -> State:
        return State(v=q, g=q)

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        c = C(v - s.g)
        g = s.g + c
        return State(v, g), c


@dataclass(frozen=True)
class MemoryState:
    g: Vector  # the server's estimate of this client's gradient


@dataclass(frozen=True)
class EF21SGD:
    """EF21 with stochastic gradients: EF21-SGDM with eta = 1, so there is no v to keep."""

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True

    def start(self, q: Vector) -> MemoryState:
        return MemoryState(g=q)

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(q - s.g)
        g = s.g + c
        return MemoryState(g), c
