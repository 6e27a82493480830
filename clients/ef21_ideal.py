"""EF21-SGD-ideal and EF21-SGDM-ideal, client halves, for analysis only. Server half: strategies/mean.py.

    h <- grad f_i(x)                       over all samples
    v <- h + eta (q - h)                   eta = 1 is EF21-SGD-ideal
    g <- h + C(v - h)                      sent whole

What EF21 would do if its memory were perfect: only the noise is compressed. Theorem 1 shows that EF21-SGD fails even
so, for every n. Nobody would deploy it, as g is sent whole and grad f_i is known: it is for simulations.

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023, the methods of
Theorem 1 and its proof.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed, whole
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress


@dataclass(frozen=True)
class State:
    """Nothing is remembered."""


@dataclass(frozen=True)
class EF21SGDMIdeal:
    """A perfect memory of grad f_i, and momentum. Attributes: eta, weight of the noise, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    message: ClassVar[str] = "whole"
    local: ClassVar[bool] = False
    passes: ClassVar[float] = 1.0

    def start(self, o: Oracle) -> State:
        return State()

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        h = o.exact(o.x)
        return s, whole(h + C(self.eta * (o.q - h)))


@dataclass(frozen=True)
class EF21SGDIdeal:
    """The same without momentum."""

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    message: ClassVar[str] = "whole"
    local: ClassVar[bool] = False
    passes: ClassVar[float] = 1.0

    def start(self, o: Oracle) -> State:
        return State()

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        h = o.exact(o.x)
        return s, whole(h + C(o.q - h))
