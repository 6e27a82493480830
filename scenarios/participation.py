"""How often each client of a method was asked, and how often its message was added."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array

_NAMES = ("asked", "used")


class Participation:
    """Attributes: asked, used, (n,) int64 rounds."""

    def __init__(self, clients: int) -> None:
        self.asked, self.used = np.zeros(clients, np.int64), np.zeros(clients, np.int64)

    def add(self, asked: Array, used: Array) -> None:
        """A round: the ids of who was asked, each once, and whose messages were added, a late one too."""
        self.asked[asked] += 1
        np.add.at(self.used, used, 1)

    def image(self) -> dict[str, Tensor]:
        """What it takes to go on."""
        return {f"participation.{name}": torch.from_numpy(getattr(self, name)) for name in _NAMES}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name in _NAMES:
            getattr(self, name)[:] = tensors[f"participation.{name}"].numpy()
