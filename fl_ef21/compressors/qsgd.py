"""QSGD: stochastic rounding to evenly spaced levels of the norm, also known as random dithering.

Reference: Alistarh et al. QSGD: communication-efficient SGD via gradient quantization and encoding. 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.compressors import options, rows
from fl_ef21.messages import All, Compressed, Levels

MOST = 2**15 - 1  # a level is an int16


@dataclass(frozen=True)
class QSGD:
    """(|u| / s) sign(u_j) times s |u_j| / |u| rounded up or down, so that its mean stays.

    omega = min(b / s^2, sqrt(b) / s) for vectors of length b. The contractive form divides by 1 + omega.

    Attributes:
      levels: s, in 1 .. 32767.
      bucket: b, consecutive coordinates with a norm of their own; None for the whole vector.
    """

    levels: int
    bucket: int | None = None
    contractive: bool = True

    def __post_init__(self) -> None:
        options.whole("levels", self.levels, 1, MOST)
        if self.bucket is not None:
            options.whole("bucket", self.bucket, 1)
        options.flag("contractive", self.contractive)

    @classmethod
    def from_options(cls, *, dim: int, levels: int, bucket: int | None = None, contractive: bool = True) -> QSGD:
        if bucket is not None:
            options.whole("bucket", bucket, 1, dim)
        return cls(levels, bucket, contractive)

    @property
    def unbiased(self) -> bool:
        return not self.contractive

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Raises: ValueError where u is not finite, or too large for a norm in its dtype."""
        (n, d), s = u.shape, self.levels
        b = self.bucket or d
        m = -(-d // b)  # buckets
        x = rows.blocks(u, b)
        most = rows.largest(x)
        size = x.abs() / most  # in 0 .. 1: its squares neither overflow nor all underflow
        norm = rows.sums(size * size).sqrt().clamp(min=1.0)
        unit = most[:, 0] * (norm / (s * (1 + self._variance(d) * self.contractive)))
        if not bool(unit.isfinite().all()):
            raise ValueError("u is not finite, or its norm is not")
        at = size * (s / norm)[:, None]
        below = at.floor()
        up = randomness.uniform(keys, m * b).view_as(x) < at - below
        level = (below + up).copysign(x).to(torch.int16)
        flat = level.reshape(n, m * b)[:, :d].reshape(-1)
        values = Levels(flat, unit.view(n, m), s, b) if self.bucket else Levels(flat, unit, s)
        return Compressed(d, torch.full((n,), d, device=u.device), All(), values)

    def _variance(self, dim: int) -> float:
        b, s = min(self.bucket or dim, dim), self.levels
        return min(b / s**2, math.sqrt(b) / s)

    def alpha(self, dim: int) -> float | None:
        return 1 / (1 + self._variance(dim)) if self.contractive else None

    def omega(self, dim: int) -> float | None:
        return None if self.contractive else self._variance(dim)

    def bits(self, dim: int) -> float:
        buckets = math.ceil(dim / (self.bucket or dim))
        return 32.0 * buckets + dim * math.ceil(math.log2(2 * self.levels + 1))
