"""EF21-Muon, server half: a step by a linear minimisation oracle over layers. Client half: clients/ef21_muon.py.

    g <- g + sum_i w_i c_i         so g = sum_i w_i g_i, always
    X <- X - gamma U V^T           for every matrix X, where U S V^T is its part of g: the ball of the spectral norm
    x <- x - gamma rest sign(g)    for what is no matrix (biases, convolutions): the ball of the largest entry

U V^T is over the singular values that float32 messages can tell from zero. It is computed exactly, where Muon makes
five Newton-Schulz steps in bfloat16. The model's way down is EF21-P: the method's `downlink`.

Reference: Gruntkowska, Gaponov, Tovmasyan, Richtarik. Error Feedback for Muon and Friends. 2025 (arXiv 2510.00643).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.threads import computing_with
from fl_ef21.types import Vector

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
NOISE = torch.finfo(torch.float32).eps


@dataclass(frozen=True)
class State:
    g: Vector  # (d,) float64, sum_i w_i g_i


@dataclass(frozen=True)
class Muon:
    """EF21 whose direction is the extreme point of a ball in every layer.

    Attributes:
      shapes: the named parameter tensors that lie one after another in x.
      rest: the radius of the ball of what is no matrix, over that of matrices, > 0.

    Raises: InputError where it is not.
    """

    shapes: Shapes
    rest: float = 1.0

    remembers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.rest < math.inf:
            raise InputError("rest", self.rest, "must be a number > 0")

    def start(self, zero: Vector) -> State:
        return State(g=zero)

    def step(self, s: State, c: Vector) -> State:
        """c (d,) float64 is sum_i w_i c_i."""
        g = s.g + c
        return State(g)

    def direction(self, s: State) -> Vector:
        """(d,) float64. A g that is not finite is returned as it is, for the model to show it."""
        if not torch.isfinite(s.g.sum()):
            return s.g
        parts = torch.split(s.g, [math.prod(shape) for _, shape in self.shapes])
        return torch.cat([self._extreme(part, shape) for part, (_, shape) in zip(parts, self.shapes, strict=True)])

    def _extreme(self, part: Tensor, shape: tuple[int, ...]) -> Tensor:
        if len(shape) != 2:
            return self.rest * part.sign()
        return polar(part.reshape(shape)).reshape(-1)


def polar(G: Tensor) -> Tensor:
    """U V^T of G = U S V^T, over the singular values of at least NOISE times the largest; zeros for zeros."""
    with computing_with(1):  # the last bit of a product may depend on the threads
        U, S, Vt = torch.linalg.svd(G, full_matrices=False)
        kept = NOISE * S[:1] < S
        found: Tensor = (U * kept) @ Vt
        return found
