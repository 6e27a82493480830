"""How the values of a sparse message can be rounded, always the same way, and what each surely keeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21.compressors import options, rows
from fl_ef21.compressors.natural import between_powers
from fl_ef21.compressors.qsgd import MOST
from fl_ef21.messages import Floats, Levels, Powers, Signs, Values


class Quantiser(Protocol):
    """Rounds the k selected values of each row."""

    def __call__(self, x: Tensor) -> Values:
        """What is said of x (n, k). Raises: ValueError where x is not finite or too large to be said."""
        ...

    def alpha(self, k: int, dim: int) -> float | None:
        """The contraction of the k largest of dim coordinates, so rounded; None where there is none."""
        ...

    def bits(self, k: int) -> float:
        """Bits of k values."""
        ...


@dataclass(frozen=True)
class BFloat16:
    """The nearest bfloat16, off by 2^-8 of the value at most; |x| up to float32's largest."""

    def __call__(self, x: Tensor) -> Floats:
        _check(x, torch.finfo(torch.float32).max)
        most = torch.finfo(torch.bfloat16).max
        return Floats(x.clamp(-most, most).to(torch.bfloat16).reshape(-1))

    def alpha(self, k: int, dim: int) -> float:
        return (1 - 2**-16) * k / dim

    def bits(self, k: int) -> float:
        return 16.0 * k


@dataclass(frozen=True)
class Float16:
    """The nearest float16, at most 65504 in size: no contraction, as values below 3e-8 become zero."""

    def __call__(self, x: Tensor) -> Floats:
        _check(x, math.inf)
        most = torch.finfo(torch.float16).max
        return Floats(x.clamp(-most, most).to(torch.float16).reshape(-1))

    def alpha(self, k: int, dim: int) -> None:
        return None

    def bits(self, k: int) -> float:
        return 16.0 * k


@dataclass(frozen=True)
class MeanSign:
    """The mean size of the selected, with each one's sign.

    Reference: Sattler et al. Robust and communication-efficient federated learning from non-iid data. 2019.
    """

    def __call__(self, x: Tensor) -> Signs:
        return Signs((x < 0).reshape(-1), rows.mean_size(x))

    def alpha(self, k: int, dim: int) -> float:
        # |S|_1^2 / k is kept of |u|^2; the worst u is flat, or has a single coordinate.
        return min(1 / k, k / dim)

    def bits(self, k: int) -> float:
        return 32.0 + k


@dataclass(frozen=True)
class NearestPower:
    """The nearest power of two, off by a third of the value at most; |x| in {0} and 2^-127 .. 2^127."""

    def __call__(self, x: Tensor) -> Powers:
        below, way = between_powers(x)
        exponent = (below + (way >= 0.5)).to(torch.int8)
        return Powers((x < 0).reshape(-1), exponent.reshape(-1), 1.0, x.dtype)

    def alpha(self, k: int, dim: int) -> float:
        return 8 / 9 * k / dim

    def bits(self, k: int) -> float:
        return 9.0 * k


@dataclass(frozen=True)
class Grid:
    """The nearest of `levels` even steps up to the largest: QSGD with the largest as norm, and no chance.

    The largest is exact and each other one is off by min(|x|, h/2), h = largest / levels, so of |x|^2
    no more than A / (1 + A) is lost, A = (k - 1) / (4 levels^2).
    """

    levels: int

    def __post_init__(self) -> None:
        options.whole("levels", self.levels, 1, MOST)

    def __call__(self, x: Tensor) -> Levels:
        _check(x, math.inf)
        most = rows.largest(x)
        level = (x / most * self.levels).round().to(torch.int16)
        return Levels(level.reshape(-1), most[:, 0] / self.levels, self.levels)

    def alpha(self, k: int, dim: int) -> float:
        return k / dim / (1 + (k - 1) / (4 * self.levels**2))

    def bits(self, k: int) -> float:
        return 32.0 + k * math.ceil(math.log2(2 * self.levels + 1))


def _check(x: Tensor, most: float) -> None:
    if not bool((x.isfinite() & (x.abs() <= most)).all()):
        raise ValueError(f"u is not finite, or holds values beyond {most:.3g}")
