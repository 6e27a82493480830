"""The model as clients hold it between rounds, where it comes to them in increments.

Where clients make the server's step (fl_ef21/shared_step.py) it is two vectors, one after the other, wherever (d,) is
said.

A device has one vector and the point it is at. In a shard, too, every client has a point of its own, but there is
one vector for all of them, at the latest of these points: what leads a client from an older one to the next version
leads there from the latest as well, and the hash chain says that it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor

from fl_ef21 import files
from fl_ef21.blocks import Array, Points, words
from fl_ef21.broadcast import NOWHERE, Broadcast
from fl_ef21.commit import Point
from fl_ef21.errors import Refused

Grow = Callable[[Tensor, Sequence[bytes]], Tensor]  # what is held, after the steps of these payloads


class Models(Protocol):
    """What some clients hold under one experiment."""

    def bring(self, clients: Array, sent: Broadcast, x: Tensor | None, grow: Grow) -> tuple[Tensor | None, Array]:
        """Bring these clients (m,) to `sent.point`: the model there (d,), and (m,) who has it now.

        x (d,) is the model itself where it is sent along, grow makes the steps of increments. Who has no version that
        the increments start from or pass through stays as he is. The same again changes nothing.

        Raises: Refused where an increment cannot be decoded.
        """
        ...

    def at(self, client: int) -> Point:
        """The version this client has."""
        ...


class Copies:
    """In memory, for the clients of a shard.

    Attributes:
      points: the version of each client, -1 where it has none.
      latest, w: the latest of them, and the model there.
    """

    def __init__(self, clients: range) -> None:
        self.clients, self.points = clients, Points.none(len(clients))
        self.latest: Point = NOWHERE
        self.w: Tensor | None = None

    def bring(self, clients: Array, sent: Broadcast, x: Tensor | None, grow: Grow) -> tuple[Tensor | None, Array]:
        rows = (clients - self.clients.start) // self.clients.step
        w, ready = x, np.ones(len(rows), dtype=bool)
        if sent.increments is not None:
            missed = sent.since(self.latest)
            w = None if self.w is None or missed is None else grow(self.w, missed)
            ready = self._led(rows, sent) if w is not None else ~ready
        if w is not None:
            version, chain = np.int64(sent.point.version), words(sent.point.chain)
            self.points.put(rows[ready], version, chain)  # type: ignore[arg-type]
            if ready.any() and sent.point.version >= self.latest.version:
                self.latest, self.w = sent.point, w
        return w, ready

    def at(self, client: int) -> Point:
        return self.points[(client - self.clients.start) // self.clients.step]

    def _led(self, rows: Array, sent: Broadcast) -> Array:
        """(m,) whether the increments lead these rows to where they should be; rows at one point are looked at once."""
        keys = np.column_stack([self.points.version[rows].astype("<u8"), self.points.chain[rows]])
        first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)[1:]
        led = np.array([sent.since(self.points[int(row)]) is not None for row in rows[first]], dtype=bool)
        return led[which.reshape(-1)]


class CopiesInFiles:
    """One atomically replaced file for each client. `path` names it."""

    def __init__(self, path: Callable[[int], Path]) -> None:
        self._path = path

    def bring(self, clients: Array, sent: Broadcast, x: Tensor | None, grow: Grow) -> tuple[Tensor | None, Array]:
        model, ready = None, np.zeros(len(clients), dtype=bool)
        for row, client in enumerate(clients.tolist()):
            held = self._read(client)
            before = held.latest
            w, led = held.bring(np.array([client]), sent, x, grow)
            if led[0] and w is not None:
                model, ready[row] = w, True
                if held.latest != before:
                    self._write(client, held)
        return model, ready

    def at(self, client: int) -> Point:
        return self._read(client).latest

    def _read(self, client: int) -> Copies:
        """What the client has; nothing where its file is missing or damaged: then it will be sent the whole model."""
        held, path = Copies(range(client, client + 1)), self._path(client)
        if path.exists():
            try:
                tensors, note = files.read(path)
            except Refused:
                return held
            point = Point(note["version"], bytes.fromhex(note["chain"]))
            held.latest, held.w = point, tensors["w"]
            held.points.put(np.array([0]), np.array([point.version]), words(point.chain))
        return held

    def _write(self, client: int, held: Copies) -> None:
        assert held.w is not None
        note = {"version": held.latest.version, "chain": held.latest.chain.hex()}
        files.write(self._path(client), {"w": held.w.contiguous()}, note)
