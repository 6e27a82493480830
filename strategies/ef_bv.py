"""DIANA and EF-BV, server halves. Client halves: clients/diana.py.

    x <- x - gamma (g + nu c)              by torch.optim; g is still the old one, c = sum_i w_i c_i
    g <- g + lam c                         so g = sum_i w_i g_i, always

Under sampling EF-BV takes the sample as part of its compressor, as EF21 does: who was not heard sent c = 0. DIANA's
step is along g + c / share, the mean of who was heard, which is unbiased as its C is; share = sum_i w_i over them.

References: Condat, Yi, Richtarik. EF-BV. NeurIPS 2022. Mishchenko, Gorbunov, Takac, Richtarik. Distributed Learning
with Compressed Gradient Differences. 2019 (arXiv 1901.09269). Both as recalled; the rule under sampling is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.types import Vector


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i, the papers' h
    ahead: Vector  # (d,) float64, what the model is stepped along


@dataclass(frozen=True)
class EFBV:
    """Steps by nu of the message, remembers lam of it.

    Attributes:
      omega: the relative variance of C where it is unbiased, else None.
      lam: as on the clients.
      nu: how much of the message enters the step, in (0, 1].
    """

    omega: float | None
    lam: float | None = None
    nu: float = 1.0

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises: InputError for nu outside (0, 1]."""
        if not 0 < self.nu <= 1:
            raise InputError("nu", self.nu, "must lie in (0, 1]")

    def start(self, zero: Vector) -> State:
        return State(g=zero, ahead=zero)

    def direction(self, s: State) -> Vector:
        """(d,), the gradient that the optimizer is given."""
        return s.ahead

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        lam = 1 / (1 + (self.omega or 0.0)) if self.lam is None else self.lam
        return State(g=s.g + lam * c, ahead=s.g + self.nu * c)


@dataclass(frozen=True)
class DIANA:
    """Steps by the mean of who was heard, remembers lam of the message.

    Attributes:
      omega: the relative variance of C, >= 0.
      share: weight of the clients that were heard, in (0, 1].
      lam: as on the clients.
    """

    omega: float
    share: float
    lam: float | None = None

    remembers: ClassVar[bool] = True

    def start(self, zero: Vector) -> State:
        return State(g=zero, ahead=zero)

    def direction(self, s: State) -> Vector:
        """(d,), the gradient that the optimizer is given."""
        return s.ahead

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        lam = 1 / (1 + self.omega) if self.lam is None else self.lam
        return State(g=s.g + lam * c, ahead=s.g + c / self.share)
