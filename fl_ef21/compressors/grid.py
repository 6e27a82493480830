"""Rounding to a grid: an absolute compressor that sends what does not round to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.compressors import options
from fl_ef21.messages import Compressed, Floats, Indices

FINE = 1024.0  # steps from zero beyond which a coordinate is sent as it is: a float's own rounding is no longer small


@dataclass(frozen=True)
class ToGrid:
    """The nearest multiple of `step`, in every coordinate: |C(u) - u|^2 <= d step^2 / 4 for every u.

    Attributes:
      step: h, > 0.
    """

    step: float
    contractive: ClassVar[bool] = False
    unbiased: ClassVar[bool] = False

    def __post_init__(self) -> None:
        options.positive("step", self.step)

    @classmethod
    def from_options(cls, *, step: float) -> ToGrid:
        return cls(step)

    def __call__(self, u: Tensor, keys: Tensor) -> Compressed:
        at = u / self.step
        near = torch.where(at.abs() < FINE, at.round() * self.step, u)  # a NaN stays, for the receiver to refuse
        sent = near != 0
        return Compressed(u.shape[1], sent.sum(dim=1), Indices(sent.nonzero()[:, 1]), Floats(near[sent]))

    def absolute(self, dim: int) -> float:
        """Delta^2, which bounds |C(u) - u|^2 for every u."""
        return dim * self.step**2 / 4

    def alpha(self, dim: int) -> None:
        return None

    def omega(self, dim: int) -> None:
        return None

    def bits(self, dim: int) -> None:
        return None
