"""RandK: k coordinates drawn without replacement; of the support only its key is sent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.compressors import options, quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.messages import Compressed, Seeded, subset_rows


@dataclass(frozen=True)
class RandK:
    """k random coordinates.

    Exactly as they are, E|C(u) - u|^2 = (1 - k/d) |u|^2. Scaled by d/k, unbiased with omega = d/k - 1; scaled and
    then rounded, neither is certain.
    """

    k: int
    scaled: bool = False
    values: Quantiser = EXACT

    def __post_init__(self) -> None:
        options.whole("k", self.k, 1)
        options.flag("scaled", self.scaled)

    @classmethod
    def from_options(
        cls, *, dim: int, k: int | None = None, fraction: float | None = None, scaled: bool = False,
        values: str = "exact", levels: int | None = None, scale_block: int | None = None,
    ) -> RandK:  # fmt: skip
        return cls(options.count(k, fraction, dim), scaled, quantisers.named(values, levels, scale_block))

    @property
    def contractive(self) -> bool:
        return not self.scaled and self.values.contractive

    @property
    def unbiased(self) -> bool:
        return self.scaled and self.values == EXACT

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Raises: ValueError where k > d."""
        n, d = u.shape
        if self.k > d:
            raise ValueError(f"k must lie in 1 .. {d}, got {self.k}")
        x = u.gather(1, subset_rows(keys, d, self.k))
        if self.scaled:
            x = x * (d / self.k)
        return Compressed(d, torch.full((n,), self.k, device=u.device), Seeded(keys), self.values(x))

    def alpha(self, dim: int) -> float | None:
        kept = self.values.keeps(self.k)
        return None if self.scaled or kept is None else kept * self.k / dim

    def omega(self, dim: int) -> float | None:
        return dim / self.k - 1 if self.unbiased else None

    def bits(self, dim: int) -> float:
        return self.values.bits(self.k)
