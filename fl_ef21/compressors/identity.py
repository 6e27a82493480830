"""C(u) = u, or every coordinate rounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.compressors import quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.messages import All, Compressed


@dataclass(frozen=True)
class Identity:
    """Every coordinate, as it is where values are exact."""

    values: Quantiser = EXACT

    @classmethod
    def from_options(
        cls, *, values: str = "exact", levels: int | None = None, scale_block: int | None = None
    ) -> Identity:
        return cls(quantisers.named(values, levels, scale_block))

    @property
    def contractive(self) -> bool:
        return self.values.contractive

    @property
    def unbiased(self) -> bool:
        return self.values == EXACT

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        n, d = u.shape
        own = u.clone(memory_format=torch.contiguous_format)  # u may change later
        return Compressed(d, torch.full((n,), d, device=u.device), All(), self.values(own))

    def alpha(self, dim: int) -> float | None:
        return self.values.keeps(dim)

    def omega(self, dim: int) -> float | None:
        return 0.0 if self.unbiased else None

    def bits(self, dim: int) -> float:
        return self.values.bits(dim)
