"""EF21-PAGE, client half. Server half: strategies/ef21.py.

    v <- grad f_i(x)                with probability p, each client by a coin of its own
         v + q(x) - q(x_old)        otherwise; both stochastic gradients on the same samples
    c <- C(v - g)
    g <- g + c

x is the model received now, x_old the one this client received before. p = 1 is EF21. With `start = "gradient"`
v starts at grad f_i(x), as in the paper; with "zero" it is off by grad f_i(x^0) until the coin first shows.

References: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles, the finite sum variant (that
the coins are the clients' own is recalled, unconfirmed). Li, Bao, Zhang, Richtarik. PAGE. ICML 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # the estimate of grad f_i
    g: Vector  # the server's estimate of this client's gradient
    x: Vector  # the model received last


@dataclass(frozen=True)
class EF21PAGE:
    """EF21 with variance reduction over a finite sum.

    Attributes:
      p: probability of a gradient over all samples, in (0, 1]; B / (B + m) for batches of B out of m balances the cost.
    """

    p: float = 0.1

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise InputError("p", self.p, "must lie in (0, 1]")

    @property
    def passes(self) -> float:
        return self.p

    def start(self, o: Oracle) -> State:
        v = o.exact(o.x)
        return State(v=v, g=v, x=o.here)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        v, anew = s.v + o.q - o.at(s.x), o.coin(self.p)
        if bool(anew.any()):  # all samples are what costs
            v = torch.where(anew, o.exact(o.x), v)
        c = C(v - s.g)
        g = s.g + c
        return State(v, g, o.here), c
