"""DIANA and EF-BV, client halves. Server half: strategies/ef_bv.py.

    c <- C(q - g)                  the message
    g <- g + lam c                 the shift h of the papers: what both sides know of this client's gradient

DIANA: C is unbiased, so the whole of c would overshoot: lam = 1 / (1 + omega). EF-BV: any C; lam = nu = 1 is EF21-SGD,
and nu = 1 with an unbiased C is DIANA.

References: Mishchenko, Gorbunov, Takac, Richtarik. Distributed Learning with Compressed Gradient Differences. 2019
(arXiv 1901.09269). Condat, Yi, Richtarik. EF-BV: A Unified Theory of Error Feedback and Variance Reduction Mechanisms
for Biased and Unbiased Compression in Distributed Optimization. NeurIPS 2022. Both rules as recalled; the tests hold
their special cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fl_ef21.errors import InputError
from fl_ef21.facts import Needs
from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    g: Vector  # h of the papers: the part of this client's gradient that both sides know


@dataclass(frozen=True)
class DIANA:
    """Compressed gradient differences.

    Attributes:
      omega: the relative variance of C, >= 0.
      lam: how much of the message enters the shift, in (0, 1]; None is 1 / (1 + omega). alpha of DIANA's paper.
    """

    omega: float
    lam: float | None = None

    server: ClassVar[str] = "diana"
    dense_start: ClassVar[bool] = False
    needs: ClassVar[Needs] = "unbiased"

    def __post_init__(self) -> None:
        """Raises: InputError for lam outside (0, 1]."""
        check_lam(self.lam)

    @property
    def adds(self) -> float:
        return 1 / (1 + self.omega) if self.lam is None else self.lam

    def start(self, q: Vector) -> State:
        return State(g=torch.zeros_like(q))

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        c = C(q - s.g)
        g = s.g + self.adds * c
        return State(g), c


@dataclass(frozen=True)
class EFBV:
    """Error feedback and variance reduction in one.

    Attributes:
      alpha, omega: the contraction of C, or its relative variance where it is unbiased; else None.
      lam: how much of the message enters the shift, in (0, 1]; None is 1 / (1 + omega), and 1 where C contracts.
    """

    alpha: float | None
    omega: float | None
    lam: float | None = None

    server: ClassVar[str] = "ef-bv"
    dense_start: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises: InputError for lam outside (0, 1], or without one where nothing is known of C."""
        check_lam(self.lam)
        if self.lam is None and self.alpha is None and self.omega is None:
            raise InputError("lam", None, "must be given in (0, 1]: this compressor claims neither alpha nor omega")

    @property
    def adds(self) -> float:
        return 1 / (1 + (self.omega or 0.0)) if self.lam is None else self.lam

    def start(self, q: Vector) -> State:
        return State(g=torch.zeros_like(q))

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        c = C(q - s.g)
        g = s.g + self.adds * c
        return State(g), c


def check_lam(lam: float | None) -> None:
    """Raises: InputError for lam outside (0, 1]."""
    if lam is not None and not 0 < lam <= 1:
        raise InputError("lam", lam, "must lie in (0, 1]")
