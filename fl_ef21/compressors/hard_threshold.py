"""Hard threshold: every coordinate of size at least lambda.

Reference: Sahu et al. Rethinking gradient sparsification as total error minimization. NeurIPS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fl_ef21.compressors import options
from fl_ef21.messages import Compressed, Floats, Indices


@dataclass(frozen=True)
class HardThreshold:
    """Every |u_j| >= threshold, however many. An absolute compressor: |C(u) - u|^2 <= d threshold^2."""

    threshold: float
    contractive: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.positive("threshold", self.threshold)

    @classmethod
    def from_options(cls, *, threshold: float) -> HardThreshold:
        return cls(threshold)

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        sent = ~(u.abs() < self.threshold)  # a NaN is sent too, for the receiver to refuse
        index = sent.nonzero()[:, 1]
        return Compressed(u.shape[1], sent.sum(dim=1), Indices(index), Floats(u[sent]))

    def absolute(self, dim: int) -> float:
        """Delta^2, which bounds |C(u) - u|^2 for every u."""
        return dim * self.threshold**2

    def alpha(self, dim: int) -> None:
        return None

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> None:
        return None
