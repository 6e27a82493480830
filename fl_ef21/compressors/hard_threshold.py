"""Hard threshold: every coordinate of size at least lambda.

Reference: Sahu et al. Rethinking gradient sparsification as total error minimization. NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.arranging import arrange
from fl_ef21.compressors import options, quantisers
from fl_ef21.compressors.quantisers import EXACT, Quantiser
from fl_ef21.messages import Compressed, Indices


@dataclass(frozen=True)
class HardThreshold:
    """Every |u_j| >= threshold, however many. Where values are exact, an absolute compressor:
    |C(u) - u|^2 <= d threshold^2."""

    threshold: float
    values: Quantiser = EXACT
    contractive: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.positive("threshold", self.threshold)

    @classmethod
    def from_options(
        cls, *, threshold: float, values: str = "exact", levels: int | None = None, scale_block: int | None = None
    ) -> HardThreshold:
        return cls(threshold, quantisers.named(values, levels, scale_block))

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        sent = ~(u.abs() < self.threshold)  # a NaN is sent too, for the receiver to refuse
        counts = sent.sum(dim=1)
        parts, rows = [], []
        for k in torch.unique(counts).tolist() or [0]:  # clients that send equally many are rounded together
            mine = (counts == k).nonzero()[:, 0]
            x, chosen = u[mine], sent[mine]
            index, said = chosen.nonzero()[:, 1], self.values(x[chosen].reshape(len(mine), k))
            parts.append(Compressed(u.shape[1], counts[mine], Indices(index), said))
            rows.append(mine)
        return arrange(parts, rows)

    def absolute(self, dim: int) -> float | None:
        """Delta^2, which bounds |C(u) - u|^2 for every u; None where rounding may lose more of a large one."""
        return dim * self.threshold**2 if self.values == EXACT else None

    def alpha(self, dim: int) -> None:
        return None

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> None:
        return None
