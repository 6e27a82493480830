"""What the NumPy rules of the method family are given: nothing of the package, plain float64 functions.

A rule is a function of a `Given` that returns the iterates x^0 .. x^T: `fl-ef21 check NAME --oracle FILE.py:rule` runs
a method beside it, through messages, payloads, protocol and engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Gradient(Protocol):
    def __call__(self, i: int, y: Vector, t: int, k: int = 0) -> Vector:
        """Client i's stochastic gradient at y, on its samples of round t and local step k."""
        ...


class Compress(Protocol):
    def __call__(self, u: Vector, i: int, t: int, call: int = 0) -> Vector:
        """What is received of client i's vector u in round t; `call` counts the compressions of one step."""
        ...


@dataclass(frozen=True)
class Given:
    """A problem and a method's numbers.

    Attributes:
      n, x0, steps: clients, the start (d,), rounds T. Rounds are t = 1 .. T.
      start: whether states begin with gradients at x0, sent whole in round 1 by everybody; else at zero.
      q, exact: stochastic gradients, and grad f_i.
      C: the compressor; alpha, omega: what it claims.
      gamma, eta: per round; hyper: the other hyperparameters.
      who: the clients whose messages round t has; participation: their share.
      down: what clients receive of the server's vector u in round t, of a method with a compressed downlink.
      coin: client i's in round t with probability p; common: everybody's.
      K, rate: local steps and their rate.
      weights: (n,), w_i.
      shapes: the model's parameter tensors, one after another in x.
    """

    n: int
    x0: Vector
    steps: int
    start: bool
    q: Gradient
    exact: Callable[[int, Vector], Vector]
    C: Compress
    gamma: Callable[[int], float]
    eta: Callable[[int], float]
    who: Callable[[int], Sequence[int]]
    coin: Callable[[int, int, float], bool]
    common: Callable[[int, float], bool]
    weights: Vector
    shapes: Sequence[tuple[str, tuple[int, ...]]]
    hyper: Mapping[str, float] = field(default_factory=dict)
    alpha: float | None = None
    omega: float | None = None
    participation: float = 1.0
    down: Callable[[Vector, int], Vector] = field(default=lambda u, t: u)
    K: int = 1
    rate: float = 0.0

    def first(self, t: int) -> bool:
        """Whether round t is the one in which everybody's first gradient is sent whole."""
        return self.start and t == 1


Rule = Callable[[Given], list[Vector]]
