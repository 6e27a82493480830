"""Scaled sign.

Reference: Karimireddy et al. Error feedback fixes signSGD and other gradient compression schemes. ICML 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.compressors import rows
from fl_ef21.messages import All, Compressed, Signs


@dataclass(frozen=True)
class Sign:
    """(|u|_1 / d) sign(u), with sign(0) = 1.

    |C(u) - u|^2 = (1 - |u|_1^2 / (d |u|^2)) |u|^2, so alpha = 1/d is certain, and one per vector is usual.
    """

    contractive: ClassVar[bool] = True
    unbiased: ClassVar[bool] = False

    @classmethod
    def from_options(cls) -> Sign:
        return cls()

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        n, d = u.shape
        values = Signs((u < 0).reshape(-1), rows.mean_size(u))
        return Compressed(d, torch.full((n,), d, device=u.device), All(), values)

    def alpha(self, dim: int) -> float:
        return 1 / dim

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return 32.0 + dim
