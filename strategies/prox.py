"""Proximal steps: f + r is minimised, where r has no gradient everywhere.

    x <- prox_{gamma r}(x - gamma g),     prox_{gamma r}(y) = argmin_z r(z) + |z - y|^2 / (2 gamma)

The step inside is the optimizer's; with another one than plain SGD the prox is as if it had been a step of gamma.
What is nought where f + r is stationary is the gradient mapping (x - prox_{gamma r}(x - gamma grad f(x))) / gamma.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294),
Algorithm EF21-Prox.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21.errors import InputError, nearest


class Prox(Protocol):
    """A closed convex r, whose value may be infinite."""

    def value(self, x: Tensor) -> float:
        """r(x), x (d,)."""
        ...

    def __call__(self, y: Tensor, gamma: float) -> Tensor:
        """prox_{gamma r}(y), (d,) in y's dtype."""
        ...


@dataclass(frozen=True)
class L1:
    """r = lam |x|_1: entries shrink, and small ones are zero."""

    lam: float

    def value(self, x: Tensor) -> float:
        return self.lam * float(x.to(torch.float64).abs().sum())

    def __call__(self, y: Tensor, gamma: float) -> Tensor:
        return y.sign() * (y.abs() - gamma * self.lam).clamp(min=0)


@dataclass(frozen=True)
class L2:
    """r = lam / 2 |x|^2."""

    lam: float

    def value(self, x: Tensor) -> float:
        return self.lam / 2 * float(x.to(torch.float64).square().sum())

    def __call__(self, y: Tensor, gamma: float) -> Tensor:
        return y / (1 + gamma * self.lam)


@dataclass(frozen=True)
class Box:
    """r = 0 where all |x_j| <= bound, else infinity: the constraint, by projection."""

    bound: float

    def value(self, x: Tensor) -> float:
        inside = x.abs() <= torch.tensor(self.bound, dtype=x.dtype)
        return 0.0 if bool(inside.all()) else math.inf

    def __call__(self, y: Tensor, gamma: float) -> Tensor:
        return y.clamp(-self.bound, self.bound)


@dataclass(frozen=True)
class Ball:
    """r = 0 where |x| <= radius, else infinity."""

    radius: float

    def value(self, x: Tensor) -> float:
        slack = 1 + 8 * torch.finfo(x.dtype).eps  # a projection ends on the sphere but for rounding
        return 0.0 if float(x.to(torch.float64).norm()) <= self.radius * slack else math.inf

    def __call__(self, y: Tensor, gamma: float) -> Tensor:
        length = float(y.to(torch.float64).norm())
        return y if length <= self.radius else y * (self.radius / length)


KINDS: dict[str, type[L1] | type[L2] | type[Box] | type[Ball]] = {"l1": L1, "l2": L2, "box": Box, "ball": Ball}


def prox_of(word: str) -> Prox:
    """Such as "l1:0.001", "l2:0.1", "box:1.0", "ball:10". Raises: InputError about `prox`."""
    name, _, number = word.partition(":")
    if name not in KINDS:
        raise InputError("prox", word, f"is not known; {nearest(name, list(KINDS))}")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError("prox", word, f'must read "{name}:number" with a number > 0, such as "{name}:0.1"')
    return KINDS[name](value)


def mapping(prox: Prox, x: Tensor, gradient: Tensor, gamma: float) -> Tensor:
    """The gradient mapping (d,) float64 at x, the gradient itself where r = 0."""
    x = x.to(torch.float64)
    return (x - prox(x - gamma * gradient.to(x), gamma)) / gamma
