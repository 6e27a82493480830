"""EF14, classical error feedback, and EF14 with momentum, client halves. Server half: strategies/ef14.py.

    v <- (1 - eta) v + eta q       momentum; EF14 itself is eta = 1
    c <- C(e + gamma v)            gamma is already inside the message
    e <- e + gamma v - c           what was not sent

References: Seide, Fu, Droppo, Li, Yu. Interspeech 2014. Stich, Cordonnier, Jaggi. Sparsified SGD
with Memory. NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    e: Vector  # error: what the messages so far have left out


@dataclass(frozen=True)
class EF14:
    """Error feedback of 2014. Attributes: gamma, the step size, > 0."""

    gamma: float

    server: ClassVar[str] = "ef14"
    dense_start: ClassVar[bool] = False

    def start(self, q: Vector) -> State:
        return State(e=torch.zeros_like(q))

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        p = s.e + self.gamma * q
        c = C(p)
        e = p - c
        return State(e), c


@dataclass(frozen=True)
class MomentumState:
    v: Vector  # momentum
    e: Vector  # error: what the messages so far have left out


@dataclass(frozen=True)
class EF14Momentum:
    """Error feedback of momenta. Attributes: gamma, the step size, > 0; eta, weight of the new gradient, in (0, 1]."""

    gamma: float
    eta: float

    server: ClassVar[str] = "ef14"
    dense_start: ClassVar[bool] = False

    def start(self, q: Vector) -> MomentumState:
        return MomentumState(v=torch.zeros_like(q), e=torch.zeros_like(q))

    def step(self, s: MomentumState, q: Vector, C: Compress) -> tuple[MomentumState, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        p = s.e + self.gamma * v
        c = C(p)
        e = p - c
        return MomentumState(v, e), c
