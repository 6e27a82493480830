"""Which clients a shard holds: contiguous blocks of whole tiles, even in number or in cost."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from fl_ef21.errors import InputError


def split(clients: int, shards: int, tile: int, costs: Any | None = None) -> list[range]:
    """Contiguous blocks of whole tiles, as even as they can be; empty blocks are left out.

    costs: (clients,), what each client costs in any unit; without them all clients cost the same.
    Raises: InputError where there is not one positive number for each client.
    """
    tiles = math.ceil(clients / tile)
    if costs is None:
        at = [tiles * s // shards for s in range(shards)]
    else:
        at = _cuts(np.add.reduceat(checked(costs, clients), np.arange(0, clients, tile)), shards)
    cuts = [min(clients, tile * cut) for cut in at] + [clients]
    return [range(a, b) for a, b in pairwise(cuts) if b > a]


def checked(costs: Any, clients: int) -> np.ndarray:
    """(clients,) float64. Raises: InputError where there is not one positive number for each client."""
    c = np.asarray(costs, dtype=np.float64)
    if c.shape != (clients,):
        raise InputError("costs", c.shape, f"must be one number for each of the {clients} clients")
    if not (np.isfinite(c) & (c > 0)).all():
        worst = int(np.argmin(np.isfinite(c) & (c > 0)))
        raise InputError(f"costs[{worst}]", float(c[worst]), "must be a finite number > 0")
    return c


def _cuts(costs: np.ndarray, shards: int) -> list[int]:
    """Where each shard begins, so that the most loaded has as little as a contiguous cut allows.

    Among the cuts that do, each is the one nearest to an even share.
    """
    total = np.concatenate([[0.0], np.cumsum(costs)])
    most = _least_most(total, shards)
    last = len(costs)
    earliest = [last]  # where a shard may begin at the earliest, so that those after it can hold the rest
    for _ in range(shards - 1):
        earliest.append(int(np.searchsorted(total, total[earliest[-1]] - most)))
    cuts = [0]
    for s, least in zip(range(1, shards), reversed(earliest[1:]), strict=True):
        even = int(np.abs(total - total[-1] * s / shards).argmin())
        cuts.append(min(max(even, least, cuts[-1]), _reach(total, cuts[-1], most)))
    return cuts


def _least_most(total: np.ndarray, shards: int) -> float:
    """The least load of the most loaded shard, to nine digits; `total` are the running sums."""
    low, high = 0.0, float(total[-1])
    while high - low > 1e-9 * total[-1]:
        most, at = (low + high) / 2, 0
        for _ in range(shards):
            at = _reach(total, at, most)
        low, high = (low, most) if at == len(total) - 1 else (most, high)
    return high * (1 + 1e-9)


def _reach(total: np.ndarray, at: int, most: float) -> int:
    """The end of the longest block from `at` that costs at most `most`."""
    return int(np.searchsorted(total, total[at] + most, side="right")) - 1
