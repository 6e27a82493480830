"""EF21-MVR (STORM on the clients), client half. Server half: strategies/ef21.py.

    v <- q(x) + (1 - eta) (v - q(x_old))   both stochastic gradients on the same samples
    c <- C(v - g)
    g <- g + c

x is the model received now, x_old the one this client received before, however many rounds ago.
eta = 1 is EF21-SGD. Two gradients a round, and the old model is kept.

References: Cutkosky, Orabona. Momentum-Based Variance Reduction in Non-Convex SGD. NeurIPS 2019 (the estimator).
Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023 (its place among EF21
methods is recalled, unconfirmed).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # the estimate of grad f_i
    g: Vector  # the server's estimate of this client's gradient
    x: Vector  # the model received last


@dataclass(frozen=True)
class EF21MVR:
    """EF21 with momentum-based variance reduction. Attributes: eta, how much of v is forgotten, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 2.0

    def start(self, o: Oracle) -> State:
        return State(v=o.q, g=o.q, x=o.here)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        v = o.q + (1 - self.eta) * (s.v - o.at(s.x))
        c = C(v - s.g)
        g = s.g + c
        return State(v, g, o.here), c
