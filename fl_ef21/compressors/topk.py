"""TopK: the k largest coordinates of the whole vector, ties to the lower index.

Reference: Alistarh et al. The convergence of sparsified gradient methods. NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options, quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.messages import Compressed, Indices


@dataclass(frozen=True)
class TopK:
    """The k largest coordinates of the whole vector. alpha = k/d where values are exact, reached when all |u_j| are
    equal."""

    k: int
    values: Quantiser = EXACT
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("k", self.k, 1)

    @classmethod
    def from_options(
        cls, *, dim: int, k: int | None = None, fraction: float | None = None, values: str = "exact",
        levels: int | None = None, scale_block: int | None = None,
    ) -> TopK:  # fmt: skip
        return cls(options.count(k, fraction, dim), quantisers.named(values, levels, scale_block))

    @property
    def contractive(self) -> bool:
        return self.values.contractive

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        return chosen(u, select.topk(u, self.k), self.values)

    def alpha(self, dim: int) -> float | None:
        return self.values.alpha(self.k, [(self.k, dim)])

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return self.values.bits(self.k)


def chosen(u: Tensor, index: Tensor, values: Quantiser) -> Compressed:
    """Messages of the coordinates `index` (n, k), increasing along each row, of u (n, d)."""
    n, k = index.shape
    said = values(u.gather(1, index))
    return Compressed(u.shape[1], torch.full((n,), k, device=u.device), Indices(index.reshape(-1)), said)
