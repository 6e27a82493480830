"""Mixing of the clients' rows before a robust rule, so that good rows that differ become more alike.

Rules count a good row that is far from the others among the bad. Means of several rows differ less, at the price that a
bad row is in some of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.errors import InputError
from strategies.robust import check_share, counted, for_fewer, pairwise, spans


class Mixing(Protocol):
    """A frozen dataclass of its parameters."""

    def __call__(self, G: Tensor, w: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (m, d) float64 and their weights (m,), from rows G (n, d) and w (n,); key (1,) for what is drawn."""
        ...

    def spread(self, share: float) -> float:
        """The share of mixed rows that may be bad where a share of the rows is."""
        ...

    def kappa(self, kappa: float, share: float) -> float:
        """What a rule that claims `kappa` for spread(share) claims behind this, where all weights are equal."""
        ...


@dataclass(frozen=True)
class Bucketing:
    """Means of `size` rows each, dealt anew in every round.

    Reference: Karimireddy, He, Jaggi. Byzantine-robust learning on heterogeneous datasets via bucketing. ICLR 2022.
    """

    size: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise InputError("size", self.size, "must be a whole number >= 1")

    def __call__(self, G: Tensor, w: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        n = len(G)
        order = torch.argsort(randomness.words(key, n)[0], stable=True)
        bucket = torch.empty(n, dtype=torch.int64)
        bucket[order] = torch.arange(n) // self.size
        weights = torch.zeros(-(-n // self.size), dtype=torch.float64).index_add_(0, bucket, w)
        A = torch.zeros(len(weights), n, dtype=torch.float64)
        A[bucket, torch.arange(n)] = w / weights[bucket]
        return mixed(A, G), weights

    def spread(self, share: float) -> float:
        return self.size * share

    def kappa(self, kappa: float, share: float) -> float:
        if self.size == 1:
            return kappa
        clean = 1 - self.spread(share)  # of the weight, at least, is in buckets without a bad row
        return 2 * (kappa + 1) * (1 - share) / clean if clean > 0 else math.inf


@dataclass(frozen=True)
class Nearest:
    """Every row becomes the mean of the n - f rows nearest to it, f = share n.

    Reference: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan. Fixing by mixing. AISTATS 2023.
    """

    share: float

    def __post_init__(self) -> None:
        check_share(self.share)

    def __call__(self, G: Tensor, w: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        n = len(G)
        near = pairwise(G).argsort(dim=1, stable=True)[:, : n - counted(self.share, n)]
        A = torch.zeros(n, n, dtype=torch.float64).scatter_(1, near, w[near])
        return mixed(A / A.sum(dim=1, keepdim=True), G), w

    def spread(self, share: float) -> float:
        return share

    def kappa(self, kappa: float, share: float) -> float:
        s = self.share
        return kappa if s == 0 and share == 0 else for_fewer(8 * s / (1 - s) * (kappa + 1), s, share)


def mixed(A: Tensor, G: Tensor) -> Tensor:
    """A G, (m, d) float64, without a copy of all of G in float64."""
    return torch.cat([A @ some for some, _ in spans(G)], dim=1)


MIXINGS: dict[str, Callable[..., Mixing]] = {"bucketing": Bucketing, "nnm": Nearest}
