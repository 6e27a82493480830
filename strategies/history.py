"""The payloads that the server has added, by client: what a client that lost something is repaired from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.blocks import Array
from fl_ef21.commit import Point
from fl_ef21.messages import whole
from fl_ef21.repair import Repair
from fl_ef21.replay import Forms, added


class History(Protocol):
    """Who remembers what became of every client."""

    def add(self, clients: Array, payloads: Sequence[bytes]) -> None:
        """These have become real, in this order."""
        ...

    def repair(self, client: int, have: Point | None) -> Repair:
        """What leads this client from `have`, or from nothing, to what the server holds of it."""
        ...

    def g(self, client: int) -> Tensor:
        """(d,), bitwise the client's own g."""
        ...

    def drop(self, client: int, origin: Point) -> None:
        """It has left; if it comes back, it begins there."""
        ...

    @property
    def nbytes(self) -> int:
        """What all of it takes."""
        ...


class Kept:
    """In memory. A client's payloads are folded into its g as soon as they take more bytes than that.

    So a client costs no more than twice its vector, however long the run.
    """

    def __init__(self, forms: Forms, dim: int, dtype: torch.dtype, origins: Sequence[Point]) -> None:
        self.forms, self.dim, self.dtype = forms, dim, dtype
        self._start = list(origins)
        self._whole: dict[int, Tensor] = {}
        self._log: list[list[bytes]] = [[] for _ in origins]
        self._bytes = np.zeros(len(origins), np.int64)

    @property
    def nbytes(self) -> int:
        return int(self._bytes.sum()) + len(self._whole) * self.dim * self.dtype.itemsize

    def add(self, clients: Array, payloads: Sequence[bytes]) -> None:
        for client, payload in zip(clients.tolist(), payloads, strict=True):
            self._log[client].append(payload)
        self._bytes[clients] += np.fromiter(map(len, payloads), np.int64, len(payloads))
        for client in clients[self._bytes[clients] > self.dim * self.dtype.itemsize].tolist():
            self._fold(client)

    def _fold(self, client: int) -> None:
        g, start = self.g(client), self._start[client]
        for payload in self._log[client]:
            start = start.then(payload)
        self._whole[client], self._start[client], self._log[client], self._bytes[client] = g, start, [], 0

    def g(self, client: int) -> Tensor:
        g = self._whole.get(client)
        if g is None:
            g = torch.zeros(self.dim, dtype=self.dtype)
        return added(g, self._start[client].version, self._log[client], self.forms)

    def repair(self, client: int, have: Point | None) -> Repair:
        g = self._whole.get(client)
        packed = None if g is None else wire.encode(whole(g[None]))[0]
        return shortest(Repair(self._start[client], packed, tuple(self._log[client])), have)

    def drop(self, client: int, origin: Point) -> None:
        self._start[client], self._log[client], self._bytes[client] = origin, [], 0
        self._whole.pop(client, None)

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, for `restore`."""
        flat = b"".join([payload for log in self._log for payload in log])
        tensors = {f"whole-{client}": g for client, g in self._whole.items()}
        tensors["payloads"] = torch.frombuffer(bytearray(flat or b"\0"), dtype=torch.uint8)
        starts = [[start.version, start.chain.hex()] for start in self._start]
        return tensors, {"starts": starts, "lengths": [[len(payload) for payload in log] for log in self._log]}

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        flat, at = tensors["payloads"].numpy().tobytes(), 0
        self._start = [Point(version, bytes.fromhex(chain)) for version, chain in note["starts"]]
        self._whole = {int(name[6:]): g for name, g in tensors.items() if name.startswith("whole-")}
        for client, lengths in enumerate(note["lengths"]):
            self._log[client], self._bytes[client] = [], sum(lengths)
            for length in lengths:
                self._log[client].append(flat[at : at + length])
                at += length


def shortest(full: Repair, have: Point | None) -> Repair:
    """The part of a repair that leads on from `have`, all of it where that is not on the way."""
    way = full.points()
    if have not in way:
        return full
    at = way.index(have)
    return Repair(have, None, full.increments[at:])
