"""EF21-SGDM, EF21-SGD and EF21-SGD2M for absolute compressors, client halves. Server half: strategies/ef21.py.

    v <- (1 - eta) v + eta q
    c <- gamma C((v - g) / gamma)          SGD2M: u in the place of v
    g <- g + c

An absolute compressor is one with E|C(u) - u|^2 <= Delta^2 for every u. Then |g - v| <= gamma Delta after every
step. With a scale-free C, such as TopK, it is the method without "-abs".

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023, the variants for
absolute compressors (recalled, unconfirmed; the bound is derived).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import MemoryState, State
from clients.ef21_sgd2m import State as DoubleState
from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class EF21SGDMAbs:
    """EF21-SGDM whose error shrinks with the step size. Attributes: eta in (0, 1]; gamma, the step size, > 0."""

    eta: float
    gamma: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    message: ClassVar[str] = "scaled"
    needs: ClassVar[str] = "absolute"

    def start(self, q: Vector) -> State:
        return State(v=q, g=q)

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        c = self.gamma * C((v - s.g) / self.gamma)
        g = s.g + c
        return State(v, g), c


@dataclass(frozen=True)
class EF21SGDAbs:
    """The same with eta = 1, so there is no v to keep. Attributes: gamma, the step size, > 0."""

    gamma: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    message: ClassVar[str] = "scaled"
    needs: ClassVar[str] = "absolute"

    def start(self, q: Vector) -> MemoryState:
        return MemoryState(g=q)

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        c = self.gamma * C((q - s.g) / self.gamma)
        g = s.g + c
        return MemoryState(g), c


@dataclass(frozen=True)
class EF21SGD2MAbs:
    """The same with momentum applied twice. Attributes: eta in (0, 1]; gamma, the step size, > 0."""

    eta: float
    gamma: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    message: ClassVar[str] = "scaled"
    needs: ClassVar[str] = "absolute"

    def start(self, q: Vector) -> DoubleState:
        return DoubleState(v=q, u=q, g=q)

    def step(self, s: DoubleState, q: Vector, C: Compress) -> tuple[DoubleState, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * q
        u = (1 - self.eta) * s.u + self.eta * v
        c = self.gamma * C((u - s.g) / self.gamma)
        g = s.g + c
        return DoubleState(v, u, g), c
