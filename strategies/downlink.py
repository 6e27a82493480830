"""Which model each client is sent, and in how many bytes: whole, or the increments since the version it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.broadcast import Broadcast

WHOLE = -1  # instead of a version: the model itself


@dataclass(frozen=True)
class Sent:
    """What goes down in one round.

    Attributes:
      clients: (m,) who is asked.
      base: (m,) int64, the version from which on each is sent the increments, WHOLE for the model itself.
      nbytes: (m,) int64, payload bytes of the model to each.
      repairs: (m,) int64, payload bytes of what each lacked; None where nobody lacked anything.
    """

    clients: Array
    base: Array
    nbytes: Array
    repairs: Array | None = None

    def __len__(self) -> int:
        return len(self.clients)

    @property
    def total(self) -> int:
        return int(self.nbytes.sum()) + (0 if self.repairs is None else int(self.repairs.sum()))

    @classmethod
    def whole(cls, clients: Array, nbytes: int) -> Sent:
        """The model itself, in so many bytes, to all."""
        return cls(clients, np.full(len(clients), WHOLE), np.full(len(clients), nbytes, np.int64))


class Downlink(Protocol):
    """How the model goes down. `send`, then what became of it, then `advance`."""

    @property
    def w(self) -> Tensor:
        """(d,), the model that clients differentiate at."""
        ...

    @property
    def model(self) -> Tensor:
        """What is sent as the model as a whole: w, and what clients hear or hold besides."""
        ...

    @property
    def model_bytes(self) -> int:
        """Of that."""
        ...

    def send(self, clients: Array) -> Sent:
        """What these clients are sent in this round."""
        ...

    def measured(self, base: int) -> tuple[float, float]:
        """Bits of the increments since this base, as papers count them and at the least."""
        ...

    def broadcast(self, base: int) -> Broadcast | None:
        """What a client with this base is told; None where models have no versions."""
        ...

    def confirm(self, clients: Array) -> None:
        """They answered from the model of this round, so they have it."""
        ...

    def forget(self, clients: Array) -> None:
        """They have lost what they had."""
        ...

    def heard(self, g: Tensor, gamma: float, round: int) -> Tensor:
        """What of the direction g (d,) the model is to step by, with this step size; then comes `advance`."""
        ...

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        """The model has made a step, to x (d,); told (d,) is what clients hear besides."""
        ...

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What it takes to go on, for `restore`."""
        ...

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        """Go on from an image, of a model that is x (d,), with `told` besides."""
        ...


class Uncompressed:
    """The model itself to everybody, every time, and what clients hear besides, if anything."""

    def __init__(self, x: Tensor, whole: int, told: Tensor | None = None) -> None:
        """`whole`: bytes of the model."""
        self.x, self.told, self.model_bytes = x, told, whole

    @property
    def w(self) -> Tensor:
        return self.x

    @property
    def model(self) -> Tensor:
        return self.x if self.told is None else torch.cat([self.x, self.told.to(self.x)])

    def send(self, clients: Array) -> Sent:
        return Sent.whole(clients, self.model_bytes)

    def measured(self, base: int) -> tuple[float, float]:
        return 0.0, 0.0

    def broadcast(self, base: int) -> None:
        return None

    def confirm(self, clients: Array) -> None:
        pass

    def forget(self, clients: Array) -> None:
        pass

    def heard(self, g: Tensor, gamma: float, round: int) -> Tensor:
        return g

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        self.x, self.told = x, told

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {}

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        self.x, self.told = x, told


def bases(sent: Sent) -> Iterator[int]:
    """Each distinct base once."""
    yield from np.unique(sent.base).tolist()
