"""DASHA and DASHA-MVR, client halves. Server half: strategies/ef21.py.

    h' <- grad f_i(x)                                   DASHA
    h' <- q(x) + (1 - eta)(h - q(x_before))             DASHA-MVR: one sample at both points; eta is the paper's b
    c  <- C(h' - h - a (g - h))                         the message; C unbiased
    g  <- g + c,   h <- h'

a = 1 draws the whole error in at once: c = C(h' - g), which is EF21. With 1 / (2 omega + 1) an unbiased C suffices.

Reference: Tyurin, Richtarik. DASHA: Distributed Nonconvex Optimization with Communication Compression and Optimal
Oracle Complexity. ICLR 2023 (arXiv 2202.01268), Algorithm 1, and its authors' code among Flower's baselines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.facts import Needs
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    h: Vector  # this client's estimate of its gradient
    g: Vector  # the server's estimate of it


@dataclass(frozen=True)
class DASHA:
    """Unbiased compression with exact gradients, no rounds of whole gradients.

    Attributes:
      omega: the relative variance of C, >= 0.
      a: how much of g's error is drawn in, in (0, 1]; None is 1 / (2 omega + 1).
    """

    omega: float
    a: float | None = None

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    needs: ClassVar[Needs] = "unbiased"
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 0.0
    passes: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        """Raises: InputError for a outside (0, 1]."""
        check_a(self.a)

    def start(self, o: Oracle) -> State:
        h = o.exact(o.x)
        return State(h=h, g=h)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        a = 1 / (2 * self.omega + 1) if self.a is None else self.a
        h = o.exact(o.x)
        c = C(h - s.h - a * (s.g - s.h))
        return State(h, s.g + c), c


@dataclass(frozen=True)
class MovingState:
    h: Vector  # this client's estimate of its gradient
    g: Vector  # the server's estimate of it
    x: Vector  # the model last received


@dataclass(frozen=True)
class DASHAMVR:
    """DASHA with momentum variance reduction.

    Attributes:
      eta: weight of the new gradient in h, in (0, 1].
      omega: the relative variance of C, >= 0.
      a: how much of g's error is drawn in, in (0, 1]; None is 1 / (2 omega + 1).
    """

    eta: float
    omega: float
    a: float | None = None

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    needs: ClassVar[Needs] = "unbiased"
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        """Raises: InputError for a outside (0, 1]."""
        check_a(self.a)

    def start(self, o: Oracle) -> MovingState:
        return MovingState(h=o.q, g=o.q, x=o.here)

    def step(self, s: MovingState, o: Oracle, C: Compress) -> tuple[MovingState, Compressed]:
        a = 1 / (2 * self.omega + 1) if self.a is None else self.a
        h = o.at(o.x) + (1 - self.eta) * (s.h - o.at(s.x))
        c = C(h - s.h - a * (s.g - s.h))
        return MovingState(h, s.g + c, o.here), c


def check_a(a: float | None) -> None:
    """Raises: InputError for a outside (0, 1]."""
    if a is not None and not 0 < a <= 1:
        raise InputError("a", a, "must lie in (0, 1]")
