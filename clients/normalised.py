"""Normalised EF21 methods, client halves. Server half: strategies/normalised.py.

    v <- (1 - eta) v + eta q(y)    y = x                                  ef21-sgdm-norm: heavy ball
                                   y = x + (1 - eta) / eta (x - x_old)    ef21-igt-norm: implicit gradient transport
    v <- q(x) + (1 - eta) (v - q(x_old))                                  ef21-mvr-norm: STORM, clients/ef21_mvr.py
    c <- C(v - g)
    g <- g + c

x is the model received now, x_old the one this client received before, however many rounds ago.

Schedules that need no constant of the problem: eta = (2 / (t + 2))^q in step t = 0, 1, ..., which a scenario writes
{ value = 1, power = q, tau = 2 }, with q = 1/2, 4/7 and 2/3 in this order. gamma falls as (2 / (t + 2))^p where the
paper's rate is T^-(1 - p): p = 3/4, 5/7 and 2/3 (recalled, unconfirmed).

References: Khirirat, Sadiev, Riabinin, Gorbunov, Richtarik. Error Feedback under (L0, L1)-Smoothness: Normalization
and Momentum. 2024 (arXiv 2410.16871). Parameter-agnostic: arXiv 2511.14501, where IGT and STORM come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import EF21SGDM
from clients.ef21_mvr import EF21MVR
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class EF21SGDMNorm(EF21SGDM):
    """EF21-SGDM with steps of the length gamma: ||EF21-SGDM||."""

    server: ClassVar[str] = "normalised"


@dataclass(frozen=True)
class EF21MVRNorm(EF21MVR):
    """EF21-MVR with steps of the length gamma."""

    server: ClassVar[str] = "normalised"


@dataclass(frozen=True)
class State:
    v: Vector  # momentum
    g: Vector  # the server's estimate of this client's gradient
    x: Vector  # the model received last


@dataclass(frozen=True)
class EF21IGTNorm:
    """Momentum of gradients where the momentum's mean point would be x. Attributes: eta, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "normalised"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def start(self, o: Oracle) -> State:
        return State(v=o.q, g=o.q, x=o.here)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        y = o.here + (1 - self.eta) / self.eta * (o.here - s.x)
        v = (1 - self.eta) * s.v + self.eta * o.at(y)
        c = C(v - s.g)
        g = s.g + c
        return State(v, g, o.here), c
