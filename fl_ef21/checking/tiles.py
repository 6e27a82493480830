"""Vectors to compress: all sizes alike, few large, one alone, ties; near the smallest float and the largest square."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fl_ef21 import randomness

SCALES = (1.0, 1e-3, 1e-30, 1e15)
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def draw(seed: int, n: int, dim: int) -> Tensor:
    """(n, dim) float64, normal."""
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heavy(seed: int, n: int, dim: int) -> Tensor:
    x = draw(seed, n, dim)
    return x.sign() * x.abs().pow(4)


def spike(seed: int, n: int, dim: int) -> Tensor:
    x = torch.zeros(n, dim, dtype=torch.float64)
    x[torch.arange(n), (seed + 7 * torch.arange(n)) % dim] = -1.3
    return x


def flat(seed: int, n: int, dim: int) -> Tensor:
    return draw(seed, n, dim).sign() * 0.7


def tied(seed: int, n: int, dim: int) -> Tensor:
    return draw(seed, n, dim).mul(2).round()


KINDS: tuple[Callable[[int, int, int], Tensor], ...] = (draw, heavy, spike, flat, tied)


def keys(n: int, round: int = 0) -> Tensor:
    """(n,) int64, of n clients in a round."""
    return randomness.keys(5, "compressor", torch.arange(n), round)


def shapes(dim: int) -> Shapes:
    """A model of `dim` numbers: a matrix of up to ten rows, and a vector."""
    rows = min(10, max(1, dim // 2))
    columns = max(1, (dim - 1) // rows)
    return (("weight", (rows, columns)), ("bias", (dim - rows * columns,)))
