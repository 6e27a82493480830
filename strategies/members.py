"""Who belongs to the population now. Weights are fixed; g is divided by the share of those who are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array


class Members:
    """Clients that are there, of all that a scenario knows.

    With S = sum_i w_i g_i over those who are there, g = S / share. Whoever leaves takes w_i g_i out of S, whoever joins
    begins with g_i = 0: both are exact, and n follows.

    Attributes:
      weights: (n,) float64, w_i of everybody, summing to one.
      there: (n,) bool.
      epoch: (n,) int64, how often each has left: a client that comes back is not who it was.
    """

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights
        self.there = np.ones(len(weights), bool)
        self.epoch = np.zeros(len(weights), np.int64)

    @property
    def share(self) -> float:
        """The weights of those who are there; exactly 1 where nobody is missing."""
        return 1.0 if self.there.all() else float(self.weights[torch.from_numpy(self.there)].sum())

    @property
    def now(self) -> Tensor:
        """(n,) float64, the weights, 0 of who is not there."""
        return self.weights * torch.from_numpy(self.there)

    def ids(self) -> Array:
        """Those who are there, in order."""
        return np.flatnonzero(self.there)

    def leave(self, client: int) -> None:
        self.there[client] = False
        self.epoch[client] += 1

    def join(self, client: int) -> None:
        self.there[client] = True

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"there": torch.from_numpy(self.there), "epoch": torch.from_numpy(self.epoch)}, {}

    def restore(self, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
        self.there, self.epoch = tensors["there"].numpy().copy(), tensors["epoch"].numpy().copy()
