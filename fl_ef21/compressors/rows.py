"""Sums along each row that are bitwise the same in any tile, on any number of threads and on any device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad


def sums(x: Tensor) -> Tensor:
    """(n,) from (n, m): the second half is added onto the first until one column is left."""
    if not x.shape[1]:
        return x.new_zeros(len(x))
    while x.shape[1] > 1:
        half = x.shape[1] // 2
        rest = x[:, 2 * half :]
        x = x[:, :half] + x[:, half : 2 * half]
        if rest.shape[1]:
            x = torch.cat([x, rest], dim=1)
    return x[:, 0]


def largest(u: Tensor) -> Tensor:
    """(n, 1): the largest |u| of each row, and 1 for a row of zeros or of nothing, so that one can divide by it."""
    if not u.shape[1]:
        return u.new_ones(len(u), 1)
    most = u.abs().amax(dim=1, keepdim=True)
    return torch.where(most > 0, most, torch.ones_like(most))


def mean_size(u: Tensor) -> Tensor:
    """(n,): |u|_1 / m of each row of u (n, m), 0 where m = 0. Neither overflows nor underflows on the way."""
    most = largest(u)
    return most[:, 0] * (sums(u.abs() / most) / max(1, u.shape[1]))


def blocks(u: Tensor, size: int) -> Tensor:
    """(n ceil(m / size), size): u (n, m) in blocks of consecutive columns, the last one filled up with zeros."""
    n, m = u.shape
    count = -(-m // size)
    return pad(u, (0, count * size - m)).reshape(n * count, size)
