"""TopK inside blocks of consecutive coordinates: cheaper to select, and no region is left out for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options, quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.compressors.topk import chosen
from fl_ef21.messages import Compressed


@dataclass(frozen=True)
class BlockTopK:
    """The k largest of every `block` consecutive coordinates. alpha = k/block where values
    are exact.

    The last block may be shorter; it sends as many, or all that it has.
    """

    k: int
    block: int
    values: Quantiser = EXACT
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("block", self.block, 1)
        options.whole("k", self.k, 1, self.block)

    @classmethod
    def from_options(
        cls, *, dim: int, block: int, k: int | None = None, fraction: float | None = None, values: str = "exact",
        levels: int | None = None, scale_block: int | None = None,
    ) -> BlockTopK:  # fmt: skip
        options.whole("block", block, 1, dim)
        return cls(options.count(k, fraction, block), block, quantisers.named(values, levels, scale_block))

    @property
    def contractive(self) -> bool:
        return self.values.contractive

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        n, d = u.shape
        m = d // self.block
        whole = m * self.block
        blocks = u[:, :whole].reshape(n * m, self.block)
        start = torch.arange(0, whole, self.block, device=u.device)[:, None]
        index = (select.topk(blocks, self.k).view(n, m, self.k) + start).view(n, m * self.k)
        if whole < d:
            last = select.topk(u[:, whole:], min(self.k, d - whole)) + whole
            index = torch.cat([index, last], dim=1)
        return chosen(u, index, self.values)

    def alpha(self, dim: int) -> float | None:
        sizes = {min(self.block, dim), dim % self.block} - {0}
        return self.values.alpha(self._count(dim), [(min(self.k, size), size) for size in sizes])

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return self.values.bits(self._count(dim))

    def _count(self, dim: int) -> int:
        return dim // self.block * self.k + min(self.k, dim % self.block)
