"""Natural compression: stochastic rounding to powers of two.

Reference: Horvath et al. Natural compression for distributed deep learning. MSML 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.compressors import options
from fl_ef21.messages import All, Compressed, Powers

OMEGA = 1 / 8


@dataclass(frozen=True)
class Natural:
    """Each coordinate to one of the two powers of two around it, so that its mean stays: omega = 1/8.

    The contractive form divides by 1 + omega: alpha = 8/9. Both claims hold for |u_j| in {0} and
    2^-127 .. 2^127. What is smaller becomes 0 or 2^-127, still without bias.
    """

    contractive: bool = True

    def __post_init__(self) -> None:
        options.flag("contractive", self.contractive)

    @classmethod
    def from_options(cls, *, contractive: bool = True) -> Natural:
        return cls(contractive)

    @property
    def unbiased(self) -> bool:
        return not self.contractive

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Raises: ValueError where |u_j| > 2^127 or u is not finite."""
        n, d = u.shape
        below, chance = between_powers(u)
        exponent = (below + (randomness.uniform(keys, d) < chance)).to(torch.int8)
        scale = 1 / (1 + OMEGA) if self.contractive else 1.0
        values = Powers((u < 0).reshape(-1), exponent.reshape(-1), scale, u.dtype)
        return Compressed(d, torch.full((n,), d, device=u.device), All(), values)

    def alpha(self, dim: int) -> float | None:
        return 1 / (1 + OMEGA) if self.contractive else None

    def omega(self, dim: int) -> float | None:
        return None if self.contractive else OMEGA

    def bits(self, dim: int) -> float:
        return 9.0 * dim


def between_powers(u: Tensor) -> tuple[Tensor, Tensor]:
    """Where |u| lies between 2^e and 2^(e+1): e as int32, -128 for zero, and the share of the way up.

    Raises: ValueError where |u_j| > 2^127 or u is not finite.
    """
    size = u.abs()
    if not bool((size <= 2.0**127).all()):
        raise ValueError("a power of two needs |u_j| <= 2^127, and u holds a larger number or a NaN")
    mantissa, exponent = torch.frexp(size)
    tiny = size < 2.0**-127
    below = torch.where(tiny, -128, exponent - 1)
    return below, torch.where(tiny, size * 2.0**127, 2 * mantissa - 1)
