"""Gradient noise xi in R^d with E xi = 0 and E|xi|^2 = sigma^2, averaged over a batch of B draws."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21 import randomness


class Noise(Protocol):
    """Frozen: sigma is all it knows."""

    def mean(self, key: Tensor, B: int, dim: int) -> Tensor:
        """(n, dim) float64, per key (n,) the mean of B draws."""
        ...


@dataclass(frozen=True)
class Gaussian:
    """xi ~ N(0, sigma^2 / d I); the mean of B draws is drawn at once, having variance 1/B of that."""

    sigma: float

    def mean(self, key: Tensor, B: int, dim: int) -> Tensor:
        return randomness.normal(key, dim) * (self.sigma / math.sqrt(dim * B))


@dataclass(frozen=True)
class ThreePoint:
    """Uniform on (2, 0), (0, 1), (-2, -1), times sqrt(3 sigma^2 / 10), in the first two coordinates of R^d.

    Its Top1 has mean (0, sigma / sqrt(30)): the noise of Theorem 1 in the EF21-SGDM paper.
    """

    sigma: float

    def mean(self, key: Tensor, B: int, dim: int) -> Tensor:
        points = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-2.0, -1.0]], dtype=torch.float64, device=key.device)
        out = torch.zeros(len(key), dim, dtype=torch.float64, device=key.device)
        draws = points[(3 * randomness.uniform(key, B)).long()]
        out[:, :2] = draws.mean(dim=1) * math.sqrt(3 * self.sigma**2 / 10)
        return out
