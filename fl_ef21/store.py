"""Where a client program finds its state: resident rows in a shard, or one file per client."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load, save

from fl_ef21.blocks import words
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

    def forget(self, experiment: bytes, clients: range) -> None:
        """The experiment is over for these clients."""
        ...


class Memory:
    """Rows of a whole shard that stay at one place. `momentum`: what v and u are rounded to, if kept in fewer bits."""

    def __init__(
        self, clients: range, device: str = "cpu", place: Place | None = None, momentum: torch.dtype | None = None
    ) -> None:
        self.clients, self.place, self.momentum = clients, place or Place("device", device), momentum
        self._rows: dict[bytes, Rows] = {}

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """Raises: Refused("state") where there is no room."""
        if experiment not in self._rows:
            device, tier = self.place.device, self.place.open()
            self._rows[experiment] = Rows(state, self.clients, dim, dtype, device, experiment, tier, self.momentum)
        return self._rows[experiment]

    def close(self, experiment: bytes, rows: Rows) -> None:
        pass

    def forget(self, experiment: bytes, clients: range) -> None:
        if experiment in self._rows:
            self._rows.pop(experiment).tier.close()


class Files:
    """One atomically replaced file per client and experiment: a digest, then a safetensors body."""

    def __init__(self, folder: Path, momentum: torch.dtype | None = None) -> None:
        self.folder, self.momentum = folder, momentum

    def path(self, experiment: bytes, client: int) -> Path:
        return self.folder / experiment.hex() / f"client-{client}.state"

    def open(self, experiment: bytes, state: type[Any], clients: range, dim: int, dtype: torch.dtype) -> Rows:
        """Raises: Refused("state") where a file is damaged."""
        rows = Rows(state, clients, dim, dtype, "cpu", experiment, momentum=self.momentum)
        for row, client in enumerate(clients):
            path = self.path(experiment, client)
            if path.exists():
                _restore(rows, row, path)
        return rows

    def close(self, experiment: bytes, rows: Rows) -> None:
        for row, client in enumerate(rows.clients):
            path = self.path(experiment, client)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _replace(path, _image(rows, row))

    def forget(self, experiment: bytes, clients: range) -> None:
        for client in clients:
            self.path(experiment, client).unlink(missing_ok=True)
        folder = self.folder / experiment.hex()
        if folder.exists() and not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def _image(rows: Rows, row: int) -> bytes:
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
    body = save(tensors, metadata={"note": json.dumps(note)})
    return blake2b(body, digest_size=16).digest() + body


def _restore(rows: Rows, row: int, path: Path) -> None:
    data = path.read_bytes()
    body = data[16:]
    if blake2b(body, digest_size=16).digest() != data[:16]:
        raise Refused("state", f"{path} is damaged: its digest does not match")
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    note = json.loads(header["__metadata__"]["note"])
    tensors = load(body)
    for name, slot in rows.slots.items():
        slot[:, row] = tensors[name]
    rows.current[row], rows.seen[row] = note["current"], note["seen"]
    for points, told in ((rows.points, note["point"]), (rows.staged, note["staged"])):
        if told is not None:
            points.put(np.array([row]), np.array([told[0]]), words(bytes.fromhex(told[1])))


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}")
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(name, path)
