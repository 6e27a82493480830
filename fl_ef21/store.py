"""Where a client program finds its state: resident rows in a shard, or one file per client."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import files
from fl_ef21.blocks import words
from fl_ef21.copies import Copies, CopiesInFiles, Models
from fl_ef21.errors import Refused
from fl_ef21.state import Rows
from fl_ef21.tiers import Place

log = logging.getLogger("fl_ef21")


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
    """One atomically replaced file per client and experiment, another with the model if that comes in increments."""

    def __init__(self, folder: Path, momentum: torch.dtype | None = None) -> None:
        self.folder, self.momentum = folder, momentum

    def path(self, experiment: bytes, client: int) -> Path:
        return self.folder / experiment.hex() / f"client-{client}.state"

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """A damaged file is put aside, and its client begins anew: the server sends it what it lacks then."""
        rows = Rows(state, clients, dim, dtype, "cpu", experiment, momentum=self.momentum)
        for row, client in enumerate(clients):
            path = self.path(experiment, client)
            if path.exists():
                try:
                    _restore(rows, row, path)
                except Refused as why:
                    if why.reason != "state":
                        raise
                    aside = path.with_suffix(".damaged")
                    os.replace(path, aside)
                    log.warning("%s. It is %s now, and client %d begins anew.", why.detail, aside.name, client)
        return rows

    def close(self, experiment: bytes, rows: Rows) -> None:
        for row, client in enumerate(rows.clients):
            files.write(self.path(experiment, client), *_image(rows, row))

    def models(self, experiment: bytes) -> CopiesInFiles:
        return CopiesInFiles(lambda client: self.path(experiment, client).with_suffix(".model"))

    def forget(self, experiment: bytes, clients: range) -> None:
        for client in clients:
            path = self.path(experiment, client)
            path.unlink(missing_ok=True)
            for also in (".model", ".damaged"):
                path.with_suffix(also).unlink(missing_ok=True)
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


def _restore(rows: Rows, row: int, path: Path) -> None:
    tensors, note = files.read(path)
    for name, slot in rows.slots.items():
        slot[:, row] = tensors[name]
    rows.current[row], rows.seen[row] = note["current"], note["seen"]
    for points, told in ((rows.points, note["point"]), (rows.staged, note["staged"])):
        if told is not None:
            points.put(np.array([row]), np.array([told[0]]), words(bytes.fromhex(told[1])))
