"""TopK inside blocks of consecutive coordinates: cheaper to select, and no region is left out for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options
from fl_ef21.compressors.topk import chosen
from fl_ef21.messages import Compressed


@dataclass(frozen=True)
class BlockTopK:
    """The k largest of every `block` consecutive coordinates. alpha = k/block.

    The last block may be shorter; it sends as many, or all that it has.
    """

    k: int
    block: int
    contractive: ClassVar[bool] = True
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("block", self.block, 1)
        options.whole("k", self.k, 1, self.block)

    @classmethod
    def from_options(cls, *, dim: int, block: int, k: int | None = None, fraction: float | None = None) -> BlockTopK:
        options.whole("block", block, 1, dim)
        return cls(options.count(k, fraction, block), block)

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
        return chosen(u, index)

    def alpha(self, dim: int) -> float:
        shortest = min(self.block, dim)
        return min(self.k, shortest) / shortest

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return 32.0 * (dim // self.block * self.k + min(self.k, dim % self.block))
