"""DASHA-PP and DASHA-PP-MVR, client halves for a sample of the clients. Server half: strategies/ef21.py.

    k <- grad f_i(x) - grad f_i(x_before) - b (h - grad f_i(x_before))
    c <- C((k - a (g - h)) / p)                   the message; C unbiased
    h <- h + k / p,   g <- g + c                  who is not asked keeps both

p is the share of clients asked in a round, x_before the model of the round before, heard of by everybody who is asked:
k / p is as large in expectation over the sample as if all had been asked. MVR: stochastic gradients, one sample at
both points. a = p / (2 omega + 1) and b = p / (2 - p); with p = 1 this is DASHA.

Reference: Tyurin, Richtarik. A Computation and Communication Efficient Method for Distributed Nonconvex Problems in the
Partial Participation Setting. NeurIPS 2023 (arXiv 2205.15580), Algorithm 1; a, b and the MVR line as recalled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.facts import Hears, Needs
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    h: Vector  # this client's estimate of its gradient
    g: Vector  # the server's estimate of it


@dataclass(frozen=True)
class DASHAPP:
    """Exact gradients, sampled clients.

    Attributes:
      omega: the relative variance of C, >= 0.
      participation: share of clients asked in a round, in (0, 1].
      a: how much of g's error is drawn in, in (0, 1]; None is p / (2 omega + 1).
      b: how much of h's error is drawn in, in (0, 1]; None is p / (2 - p).
    """

    omega: float
    participation: float
    a: float | None = None
    b: float | None = None

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    hears: ClassVar[Hears] = "before"
    needs: ClassVar[Needs] = "unbiased"
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 0.0
    passes: ClassVar[float] = 2.0

    def __post_init__(self) -> None:
        """Raises: InputError for a or b outside (0, 1]."""
        for name, value in (("a", self.a), ("b", self.b)):
            if value is not None and not 0 < value <= 1:
                raise InputError(name, value, "must lie in (0, 1]")

    def start(self, o: Oracle) -> State:
        h = o.exact(o.x)
        return State(h=h, g=h)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        return self.move(s, o.exact(o.x), o.exact(o.heard), C)

    def move(self, s: State, now: Vector, before: Vector, C: Compress) -> tuple[State, Compressed]:
        """The step from the gradients (n, d) at x and x_before."""
        p = self.participation
        a = p / (2 * self.omega + 1) if self.a is None else self.a
        b = p / (2 - p) if self.b is None else self.b
        k = now - before - b * (s.h - before)
        c = C((k - a * (s.g - s.h)) / p)
        return State(s.h + k / p, s.g + c), c


@dataclass(frozen=True)
class DASHAPPMVR(DASHAPP):
    """Stochastic gradients, sampled clients. b is the weight of the new gradient, as a rule much smaller than p."""

    gradients: ClassVar[float] = 2.0
    passes: ClassVar[float] = 0.0

    def start(self, o: Oracle) -> State:
        return State(h=o.q, g=o.q)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        return self.move(s, o.at(o.x), o.at(o.heard), C)
