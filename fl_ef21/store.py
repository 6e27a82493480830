"""Where a client program finds its state: resident rows in a shard, or one file per client."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import files, shelf
from fl_ef21.blocks import words
from fl_ef21.copies import Copies, CopiesInFiles, Models
from fl_ef21.errors import Refused
from fl_ef21.state import Rows
from fl_ef21.tiers import Place


class Store(Protocol):
    """Opens the rows that hold some clients of an experiment, and closes them again."""

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """The rows of `clients`, as they were closed last."""
        ...

    def close(self, experiment: bytes, rows: Rows) -> None:
        """Keep what has changed."""
        ...

    def models(self, experiment: bytes) -> Models:
        """What the clients hold of the model, where it comes to them in increments."""
        ...

    def forget(self, experiment: bytes, clients: range) -> None:
        """The experiment is over for these clients."""
        ...


class Memory:
    """Rows of a whole shard that stay at one place. `momentum`: what v and u are rounded to, if kept in fewer bits.

    Attributes:
      rows, copies: of each experiment; the second where the model comes in increments.
    """

    def __init__(
        self, clients: range, device: str = "cpu", place: Place | None = None, momentum: torch.dtype | None = None
    ) -> None:
        self.clients, self.place, self.momentum = clients, place or Place("device", device), momentum
        self.rows: dict[bytes, Rows] = {}
        self.copies: dict[bytes, Copies] = {}

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """Raises: Refused("state") where there is no room."""
        if experiment not in self.rows:
            device, tier = self.place.device, self.place.open()
            self.rows[experiment] = Rows(state, self.clients, dim, dtype, device, experiment, tier, self.momentum)
        return self.rows[experiment]

    def close(self, experiment: bytes, rows: Rows) -> None:
        pass

    def models(self, experiment: bytes) -> Copies:
        return self.copies.setdefault(experiment, Copies(self.clients))

    def forget(self, experiment: bytes, clients: range) -> None:
        self.copies.pop(experiment, None)
        if experiment in self.rows:
            self.rows.pop(experiment).tier.close()


class Files:
    """One atomically replaced file per client and experiment, another with the model if that comes in increments.

    Of experiments that nobody ended only the last ones stay (`shelf`).

    durable: whether what a client has staged must outlive a power cut before it is sent.
    """

    def __init__(self, folder: Path, momentum: torch.dtype | None = None, durable: bool = False) -> None:
        self.folder, self.momentum, self.durable = folder, momentum, durable

    def path(self, experiment: bytes, client: int) -> Path:
        return self.folder / experiment.hex() / f"client-{client}.state"

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """A client whose file is damaged begins anew, as one that lost its disk: the server repairs it.

        Raises: Refused("storage") where the disk does not give a file.
        """
        rows = Rows(state, clients, dim, dtype, "cpu", experiment, momentum=self.momentum)
        for row, client in enumerate(clients):
            path = self.path(experiment, client)
            if path.exists() and (found := _read(path)) is not None:
                _restore(rows, row, *found)
        return rows

    def close(self, experiment: bytes, rows: Rows) -> None:
        """Raises: Refused("storage") where the disk is full or fails, Refused("stale") where another task of the client
        has followed a later instruction meanwhile. What was there stays.
        """
        if not (self.folder / experiment.hex()).exists():
            shelf.prune(self.folder)
        for row, client in enumerate(rows.clients):
            seen = int(rows.seen[row])
            path = self.path(experiment, client)
            files.write(path, *_image(rows, row), self.durable, unless=lambda note, seen=seen: note["seen"] > seen)  # type: ignore[misc]

    def models(self, experiment: bytes) -> CopiesInFiles:
        return CopiesInFiles(lambda client: self.path(experiment, client).with_suffix(".model"))

    def forget(self, experiment: bytes, clients: range) -> None:
        for client in clients:
            path = self.path(experiment, client)
            for one in (path, path.with_suffix(".model"), _aside(path)):
                files.remove(one)
        folder = self.folder / experiment.hex()
        if folder.exists() and not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _image(rows: Rows, row: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    point, staged = rows.points[row], rows.staged[row]
    note = {
        "current": int(rows.current[row]),
        "seen": int(rows.seen[row]),
        "point": [point.version, point.chain.hex()],
        "staged": [staged.version, staged.chain.hex()] if staged.version >= 0 else None,
    }
    tensors = {name: slot[:, row].contiguous() for name, slot in rows.slots.items()}
    if not tensors:
        tensors = {"nothing": torch.zeros(1)}
    return tensors, note


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """A client's file; a damaged one is put aside under another name, to be looked at."""
    try:
        return files.read(path)
    except Refused as why:
        if why.reason != "state":
            raise
        logging.getLogger(__name__).warning("%s; kept as %s, the client begins anew", why, _aside(path).name)
        with files.naming(path, 0):
            path.replace(_aside(path))
        return None


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.damaged")


def _restore(rows: Rows, row: int, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    for name, slot in rows.slots.items():
        slot[:, row] = tensors[name]
    rows.current[row], rows.seen[row] = note["current"], note["seen"]
    for points, told in ((rows.points, note["point"]), (rows.staged, note["staged"])):
        if told is not None:
            points.put(np.array([row]), np.array([told[0]]), words(bytes.fromhex(told[1])))
