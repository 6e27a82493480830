"""TopK whose values are rounded too: after selection, values are what costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21 import select
from fl_ef21.compressors import options
from fl_ef21.compressors.quantisers import BFloat16, Float16, Grid, MeanSign, NearestPower, Quantiser
from fl_ef21.errors import InputError, choose
from fl_ef21.messages import Compressed, Indices

VALUES: dict[str, Callable[..., Quantiser]] = {
    "bfloat16": BFloat16,
    "float16": Float16,
    "sign": MeanSign,
    "natural": NearestPower,
    "qsgd": Grid,
}


@dataclass(frozen=True)
class TopKValues:
    """The k largest coordinates, their values rounded to few bits. Deterministic; alpha is the rounding's."""

    k: int
    values: Quantiser
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.whole("k", self.k, 1)

    @classmethod
    def from_options(
        cls,
        *,
        dim: int,
        values: str,
        k: int | None = None,
        fraction: float | None = None,
        levels: int | None = None,
    ) -> TopKValues:
        rounding = choose(VALUES, values, "values")
        if values == "qsgd":
            if levels is None:
                raise InputError("levels", None, "is missing; values = 'qsgd' needs it")
            return cls(options.count(k, fraction, dim), rounding(levels))
        if levels is not None:
            raise InputError("levels", levels, f"belongs to values = 'qsgd', not to {values!r}")
        return cls(options.count(k, fraction, dim), rounding())

    @property
    def contractive(self) -> bool:
        return self.values.alpha(self.k, self.k) is not None

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        """Raises: ValueError where u holds a NaN, or selected values that cannot be said."""
        n, d = u.shape
        index = select.topk(u, self.k)
        counts = torch.full((n,), self.k, device=u.device)
        return Compressed(d, counts, Indices(index.view(-1)), self.values(u.gather(1, index)))

    def alpha(self, dim: int) -> float | None:
        return self.values.alpha(self.k, dim)

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> float:
        return self.values.bits(self.k)
