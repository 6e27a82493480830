"""Regularisers r(x), added to every client's loss alike: f_i(x) = mean loss + r(x)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Regularizer(Protocol):
    """A smooth function of the whole parameter vector."""

    def value(self, x: Tensor) -> Tensor:
        """r(x), a scalar tensor."""
        ...

    def gradient(self, x: Tensor) -> Tensor:
        """Its gradient, (d,)."""
        ...


@dataclass(frozen=True)
class L2:
    """lam / 2 |x|^2."""

    lam: float

    def value(self, x: Tensor) -> Tensor:
        return self.lam / 2 * x.square().sum()

    def gradient(self, x: Tensor) -> Tensor:
        return self.lam * x


@dataclass(frozen=True)
class Nonconvex:
    """lam sum_j x_j^2 / (1 + x_j^2), the regulariser of the experiments in the EF21-SGDM paper."""

    lam: float

    def value(self, x: Tensor) -> Tensor:
        s = x.square()
        return self.lam * (s / (1 + s)).sum()

    def gradient(self, x: Tensor) -> Tensor:
        return 2 * self.lam * x / (1 + x.square()).square()
