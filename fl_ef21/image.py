"""An image: the state of some clients under one experiment, with all that it takes to go on from there bitwise.

Made and loaded by clients/image.py; kept by the engine for a shard that dies, and in the cuts of a durable run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.errors import Refused

CLIENTS = "clients"  # of the tensors of a packed image
MOST = 256 << 20  # bytes of an image


@dataclass(frozen=True)
class Part:
    """What one image will be of: rows of a shard under an experiment.

    Attributes:
      start, stop: the rows.
      nbytes: of their vectors.
    """

    experiment: bytes
    start: int
    stop: int
    nbytes: int


@dataclass(frozen=True)
class Image:
    """State of m clients.

    Attributes:
      clients: (m,) int64.
      state: name of the method's state, whose fields the vectors are.
      tensors: vectors of those who have some, and figures (m,) of all; see clients/image.py.
      note: what else there is to know, as JSON knows it.
    """

    experiment: bytes
    clients: Array
    state: str
    tensors: Mapping[str, Tensor]
    note: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All of it as tensors and a note that JSON can say: what `files.write` takes."""
        about = {"experiment": self.experiment.hex(), "state": self.state, "note": dict(self.note)}
        return {CLIENTS: torch.from_numpy(self.clients.astype(np.int64)), **self.tensors}, about

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Image:
        """The image again. Raises: Refused("image") where these are none."""
        try:
            rest = {name: tensor for name, tensor in tensors.items() if name != CLIENTS}
            experiment, clients = bytes.fromhex(about["experiment"]), tensors[CLIENTS].numpy()
            return cls(experiment, clients, str(about["state"]), rest, dict(about["note"]))
        except (KeyError, TypeError, ValueError) as error:
            raise Refused("image", f"not an image of client state: {error!r}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Vectors travel as NumPy arrays, which Ray does not copy into its pickles."""
        plain = {
            name: (str(t.dtype).removeprefix("torch."), tuple(t.shape), _octets(t)) for name, t in self.tensors.items()
        }
        return _received, (self.experiment, self.clients, self.state, plain, dict(self.note))


def _octets(tensor: Tensor) -> Array:
    octets: Array = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return octets


def _received(
    experiment: bytes, clients: Array, state: str, plain: Mapping[str, tuple[str, tuple[int, ...], Array]],
    note: Mapping[str, Any],
) -> Image:  # fmt: skip
    """Copied once: what lies in Ray's store must not be written to."""
    tensors = dict[str, Tensor]()
    for name, (dtype, shape, octets) in plain.items():
        tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
        if len(octets):
            tensors[name].reshape(-1).view(torch.uint8).numpy()[:] = octets
    return Image(experiment, np.array(clients), state, tensors, note)
