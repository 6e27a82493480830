"""TopK inside every parameter tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options, quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.compressors.topk import chosen
from fl_ef21.messages import Compressed


@dataclass(frozen=True)
class LayerTopK:
    """A fraction of the coordinates of every parameter tensor, the largest ones, at least one each.

    alpha is the smallest k_l / d_l over the tensors where values are exact.

    Attributes:
      fraction: in (0, 1].
      sizes: d_l, numbers of the tensors that lie one after another in u, each >= 1.
    """

    fraction: float
    sizes: tuple[int, ...] = field(repr=False)
    values: Quantiser = EXACT
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.share("fraction", self.fraction)

    @classmethod
    def from_options(
        cls, *, shapes: tuple[tuple[str, tuple[int, ...]], ...], fraction: float, values: str = "exact",
        levels: int | None = None, scale_block: int | None = None,
    ) -> LayerTopK:  # fmt: skip
        sizes = tuple(prod(shape) for _, shape in shapes)
        return cls(fraction, sizes, quantisers.named(values, levels, scale_block))

    @property
    def contractive(self) -> bool:
        return self.values.contractive

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        index, start = [], 0
        for layer, k in zip(u.split_with_sizes(self.sizes, dim=1), self._counts(), strict=True):
            index.append(select.topk(layer, k) + start)
            start += layer.shape[1]
        return chosen(u, torch.cat(index, dim=1), self.values)

    def _counts(self) -> list[int]:
        return [max(1, round(self.fraction * size)) for size in self.sizes]

    def alpha(self, dim: int) -> float | None:
        counts = self._counts()
        return self.values.alpha(sum(counts), list(zip(counts, self.sizes, strict=True)))

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return self.values.bits(sum(self._counts()))
