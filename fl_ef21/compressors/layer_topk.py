"""TopK inside every parameter tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options
from fl_ef21.compressors.topk import chosen
from fl_ef21.messages import Compressed


@dataclass(frozen=True)
class LayerTopK:
    """A fraction of the coordinates of every parameter tensor, the largest ones, at least one each.

    alpha is the smallest k_l / d_l over the tensors.

    Attributes:
      fraction: in (0, 1].
      sizes: d_l, numbers of the tensors that lie one after another in u, each >= 1.
    """

    fraction: float
    sizes: tuple[int, ...] = field(repr=False)
    contractive: ClassVar[bool] = True
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.share("fraction", self.fraction)

    @classmethod
    def from_options(cls, *, shapes: tuple[tuple[str, tuple[int, ...]], ...], fraction: float) -> LayerTopK:
        return cls(fraction, tuple(prod(shape) for _, shape in shapes))

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        index, start = [], 0
        for layer, k in zip(u.split_with_sizes(self.sizes, dim=1), self._counts(), strict=True):
            index.append(select.topk(layer, k) + start)
            start += layer.shape[1]
        return chosen(u, torch.cat(index, dim=1))

    def _counts(self) -> list[int]:
        return [max(1, round(self.fraction * size)) for size in self.sizes]

    def alpha(self, dim: int) -> float:
        return min(k / size for k, size in zip(self._counts(), self.sizes, strict=True))

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return 32.0 * sum(self._counts())
