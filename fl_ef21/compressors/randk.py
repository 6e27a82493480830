"""RandK: k coordinates drawn without replacement; of the support only its key is sent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.compressors import options
from fl_ef21.messages import Compressed, Floats, Seeded, subset_rows


@dataclass(frozen=True)
class RandK:
    """k random coordinates.

    As they are, E|C(u) - u|^2 = (1 - k/d) |u|^2. Scaled by d/k, unbiased with omega = d/k - 1.
    """

    k: int
    scaled: bool = False

    def __post_init__(self) -> None:
        options.whole("k", self.k, 1)
        options.flag("scaled", self.scaled)

    @classmethod
    def from_options(
        cls, *, dim: int, k: int | None = None, fraction: float | None = None, scaled: bool = False
    ) -> RandK:
        return cls(options.count(k, fraction, dim), scaled)

    @property
    def contractive(self) -> bool:
        return not self.scaled

    @property
    def unbiased(self) -> bool:
        return self.scaled

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Raises: ValueError where k > d."""
        n, d = u.shape
        if self.k > d:
            raise ValueError(f"k must lie in 1 .. {d}, got {self.k}")
        values = u.gather(1, subset_rows(keys, d, self.k)).view(-1)
        if self.scaled:
            values = values * (d / self.k)
        return Compressed(d, torch.full((n,), self.k, device=u.device), Seeded(keys), Floats(values))

    def alpha(self, dim: int) -> float | None:
        return None if self.scaled else self.k / dim

    def omega(self, dim: int) -> float | None:
        return dim / self.k - 1 if self.scaled else None

    def bits(self, dim: int) -> float:
        return 32.0 * self.k
