"""The clients' side of a schedule: the real program over a real store, and what may befall what it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from clients import METHODS
from clients.asked import Answer
from clients.program import Program
from fl_ef21 import files
from fl_ef21.blocks import Points
from fl_ef21.broadcast import Broadcast
from fl_ef21.errors import Refused
from fl_ef21.repair import Repair
from fl_ef21.state import Rows
from fl_ef21.store import Files, Memory
from scenarios.setup import Setup
from tests.protocol.world import DIM, N

COPIES = 2  # of every client's store: the second is used by clients whose disk was cloned
Image = Any  # all that one client keeps


@dataclass(frozen=True)
class Packet:
    """An instruction as it travels. `key`: what packets with one model have in common."""

    client: int
    key: Any
    x: Tensor | None
    told: Broadcast | None
    block: bytes
    repair: Repair | None = None


class Crashed(Exception):
    """The client's process is gone."""


class Troubled:
    """A problem whose gradients fail in this way: "raise", "NaN"."""

    def __init__(self, problem: Any, trouble: str) -> None:
        self.problem, self.trouble = problem, trouble

    def __getattr__(self, name: str) -> Any:
        return getattr(self.problem, name)

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        if self.trouble == "raise":
            raise RuntimeError("no battery")
        return self.problem.gradients(x, clients, round) * torch.nan  # type: ignore[no-any-return]


class Devices(Protocol):
    """N clients, each kept COPIES times under one experiment."""

    def answer(self, copy: int, packets: Sequence[Packet], how: str = "") -> list[Answer]:
        """Of packets with one model. how: "" or "raise", "NaN", "crash" of the clients. Raises: Crashed."""
        ...

    def image(self, copy: int, client: int) -> Image:
        """What a backup of the client holds, None where it has nothing."""
        ...

    def put(self, copy: int, client: int, image: Image) -> None:
        """The client holds this from now on."""
        ...

    def damage(self, copy: int, client: int, where: int) -> None:
        """A bit of what it keeps is turned over, where a client would notice it; else all of it is lost."""
        ...

    def kept(self, copy: int) -> Iterator[tuple[range, Rows]]:
        """The state of those clients that have some."""
        ...


class Shared:
    """What both kinds of devices have in common. Attributes: experiment, set once the server has one."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.experiment = setup, b""
        self.plan = setup.plans[0]
        self.state = type(self.plan.half(METHODS[self.plan.method], 1).start(torch.zeros(1, 1)))

    def _program(self, store: Any, how: str) -> Program:
        program = Program(self.setup.problem, self.setup.plans, store, self.setup.source, N)
        if how in ("raise", "NaN"):
            program.problem = Troubled(program.problem, how)  # type: ignore[assignment]
        return program


def called(program: Program, packets: Sequence[Packet]) -> list[Answer]:
    """One call; a program that raises is answered for, as runtimes do."""
    x = next((packet.x for packet in packets if packet.x is not None), None)
    clients, packed, told = ([getattr(p, name) for p in packets] for name in ("client", "block", "told"))
    repairs = {place: packet.repair for place, packet in enumerate(packets) if packet.repair is not None}
    try:
        return program.answer(x, clients, packed, told, repairs)
    except RuntimeError as error:
        return [Refused("client raised", str(error)) for _ in packets]


class InMemory(Shared):
    """All clients in the rows of one shard, whose engine brings a client that crashed back to where it was."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.stores = [Memory(range(N)) for _ in range(COPIES)]

    def answer(self, copy: int, packets: Sequence[Packet], how: str = "") -> list[Answer]:
        before = [self.image(copy, packet.client) for packet in packets] if how == "crash" else []
        answers = called(self._program(self.stores[copy], how), packets)
        for packet, image in zip(packets, before, strict=False):
            self.put(copy, packet.client, image)
        if how == "crash":
            raise Crashed
        return answers

    def image(self, copy: int, client: int) -> Image:
        rows, models = self._rows(copy), self.stores[copy].models(self.experiment)
        return None if rows is None else (row_image(rows, client), models.at(client))

    def put(self, copy: int, client: int, image: Image) -> None:
        rows = self._rows(copy)
        if rows is None and image is None:
            return
        rows = rows or self._open(copy)
        blank = Rows(self.state, range(client, client + 1), DIM, self.plan.dtype, "cpu", self.experiment)
        row, at = image or (row_image(blank, 0), None)
        put_row(rows, client, row)
        models = self.stores[copy].models(self.experiment)
        other = Points.none(1)[0] if at is None else at
        models.points.version[client] = other.version
        models.points.chain[client] = np.frombuffer(other.chain, "<u8")

    def damage(self, copy: int, client: int, where: int) -> None:
        self.put(copy, client, None)

    def kept(self, copy: int) -> Iterator[tuple[range, Rows]]:
        if (rows := self._rows(copy)) is not None:
            yield range(N), rows

    def _rows(self, copy: int) -> Rows | None:
        return self.stores[copy].rows.get(self.experiment)

    def _open(self, copy: int) -> Rows:
        return self.stores[copy].open(self.experiment, self.state, range(N), DIM, self.plan.dtype)


def row_image(rows: Rows, row: int) -> Any:
    """All that is kept of one row."""
    points = [(p.version[row], p.chain[row].copy()) for p in (rows.points, rows.staged)]
    return {n: s[:, row].clone() for n, s in rows.slots.items()}, rows.current[row], rows.seen[row], points


def put_row(rows: Rows, row: int, image: Any) -> None:
    """The row is as it was when the image was made."""
    slots, rows.current[row], rows.seen[row], points = image
    for name, slot in slots.items():
        rows.slots[name][:, row] = slot
    for of, (version, chain) in zip((rows.points, rows.staged), points, strict=True):
        of.version[row], of.chain[row] = version, chain


class Fragile(Files):
    """Files of a process that dies before it has written what it computed."""

    def close(self, experiment: bytes, rows: Rows) -> None:
        raise Crashed


class OnDisk(Shared):
    """Every client in files of its own, opened anew for every message."""

    def __init__(self, setup: Setup, folder: Path) -> None:
        super().__init__(setup)
        self.folders = [folder / f"copy-{copy}" for copy in range(COPIES)]

    def answer(self, copy: int, packets: Sequence[Packet], how: str = "") -> list[Answer]:
        store = (Fragile if how == "crash" else Files)(self.folders[copy])
        return [called(self._program(store, how), [packet])[0] for packet in packets]

    def image(self, copy: int, client: int) -> Image:
        held = [path.read_bytes() if path.exists() else None for path in self._paths(copy, client)]
        return held if any(held) else None

    def put(self, copy: int, client: int, image: Image) -> None:
        for path, data in zip(self._paths(copy, client), image or [None, None], strict=True):
            path.unlink(missing_ok=True)
            if data is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    def damage(self, copy: int, client: int, where: int) -> None:
        image = self.image(copy, client)
        if image is not None and image[0] is not None:
            at, bit = where // 8 % len(image[0]), where % 8
            image[0] = image[0][:at] + bytes((image[0][at] ^ 1 << bit,)) + image[0][at + 1 :]
            self.put(copy, client, image)

    def kept(self, copy: int) -> Iterator[tuple[range, Rows]]:
        store = Files(self.folders[copy])
        for client in range(N):
            path, mine = store.path(self.experiment, client), range(client, client + 1)
            try:
                files.read(path)
            except (FileNotFoundError, Refused):
                continue  # nothing, or something that the client will not use
            yield mine, store.open(self.experiment, self.state, mine, DIM, self.plan.dtype)

    def _paths(self, copy: int, client: int) -> list[Path]:
        path = Files(self.folders[copy]).path(self.experiment, client)
        return [path, path.with_suffix(".model")]
