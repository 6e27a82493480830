"""Plays a schedule on the real server and the real clients, and checks after every round what must hold.

An oracle beside them holds every client's g_i as the sum of the payloads that were committed for it, and the point
that these lead to.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.commit import Point
from fl_ef21.state import Rows
from strategies.rounds import Commit
from tests.protocol.devices import COPIES, Devices, InMemory, OnDisk
from tests.protocol.network import Fate, Network
from tests.protocol.schedule import Event, Schedule
from tests.protocol.server import Server
from tests.protocol.world import DIM, N, world

QUIET = 4  # rounds after which everybody takes part again: one to leave, one to come back, one to be repaired


class Broken(AssertionError):
    """Something that must hold does not."""


class Play:
    """A run in progress; a context, since it may need a folder.

    Attributes:
      g: (N, d) float64, what was committed for each client; points: where that leads.
      updates: messages committed so far; worst: the largest relative error of g so far.
    """

    def __init__(self, name: str = "sgdm", disk: bool = False) -> None:
        self._stack, setup = ExitStack(), world(name)
        self.devices: Devices = OnDisk(setup, self._folder()) if disk else InMemory(setup)
        self.server, self.net = Server(setup), Network(self.devices)
        self.devices.experiment = experiment = self.server.strategy.ledger._experiment
        self.g = torch.zeros(N, DIM, dtype=torch.float64)
        self.points = [Point.origin(experiment, i) for i in range(N)]
        self.updates, self.worst, self.epoch = 0, 0.0, [0] * N
        self._backups = dict[int, object]()

    def _folder(self) -> Path:
        in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk takes milliseconds to rename a file
        return Path(self._stack.enter_context(TemporaryDirectory(prefix="fl-ef21-protocol-", dir=in_memory)))

    def __enter__(self) -> Play:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # What goes wrong ------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Something happens between two rounds."""
        devices, client = self.devices, event.which % N
        match event.kind:
            case "replay" | "stray" | "replay reply":
                self.net.again(event.kind, event.which)
            case "backup":
                self._backups[client] = devices.image(0, client)
            case "wipe":
                devices.put(0, client, None)
            case "restore":
                devices.put(0, client, self._backups.get(client))
            case "damage":
                devices.damage(0, client, event.which)
            case "clone":
                devices.put(1, client, devices.image(0, client))
                self.net.cloned.add(client)
            case "unclone":
                self.net.cloned.discard(client)
            case "leave":
                if len(self.server.strategy.members.ids()) > 2:
                    self.server.strategy.leave(client)
            case "join":
                self.server.strategy.join(client)

    def round(self, fates: Sequence[Fate] = (), crash: str = "", order: int = 0) -> None:
        """One round with these faults, and the checks after it. Raises: Broken."""
        self.net.plan(fates, order)
        replies = self.net.send_and_receive(self.server.ask(self.net))
        before = self.server.digest()
        if crash != "after sending":
            commit = self.server.hear(replies)
            if crash != "before commit":
                self.server.commit(commit)
                self._commit(commit)
                before = self.server.digest()
        if crash:
            self.server.restart()
            if self.server.digest() != before:
                raise Broken(f"the server that comes back after a crash {crash} is another")
        self.check()

    def end(self) -> None:
        """Nothing goes wrong any more: everybody must take part again, and the clients' own states add up to g.

        Raises: Broken.
        """
        self.server.strategy.participation = 1.0
        for _ in range(QUIET):
            self.round()
            if self.server.strategy.last.participants == N:
                break
            for client in range(N):
                self.server.strategy.join(client)
        if (heard := self.server.strategy.last.participants) != N:
            raise Broken(
                f"{heard} of {N} clients take part after {QUIET} quiet rounds: {self.server.strategy.last.refused}"
            )
        if (error := self.server.strategy.audit(self.net)) != 0:
            raise Broken(f"an audit finds an error of {error}")

    # What must hold -------------------------------------------------------------------------------

    def _commit(self, commit: Commit) -> None:
        if len(set(commit.clients.tolist())) != len(commit.clients):
            raise Broken(f"two messages of one client are in one round: {commit.clients}")
        for client in commit.left:
            self.epoch[client] += 1
            self.g[client] = 0
            self.points[client] = Point.origin(self.devices.experiment, client, self.epoch[client])
        forms = self.server.strategy.adder.forms
        told = list(zip(commit.clients.tolist(), commit.payloads, strict=True))
        for spec, some in groupby(told, lambda one: forms.of_version(self.points[one[0]].version, one[1])):
            those = list(some)
            c, refused = wire.decode([payload for _, payload in those], spec)
            if refused:
                raise Broken(f"what was committed of the clients {those} cannot be decoded: {refused}")
            self.g[[client for client, _ in those]] += c.dense()
        for client, payload in told:
            self.points[client] = self.points[client].then(payload)
        self.updates += len(commit.clients)

    def check(self) -> None:
        """g is the sum, the server is at the points of what it committed, and so is the state of who is there."""
        strategy = self.server.strategy
        total = (strategy.members.weights[:, None] * self.g).sum(dim=0)
        away, size = float((strategy.state.g - total).norm()), float(total.norm())
        self.worst = max(self.worst, away / size if size else away)
        if not torch.equal(strategy.state.g, total):
            raise Broken(f"g is not the sum of what was committed: relative error {self.worst:.2g}")
        version = np.array([point.version for point in self.points])
        chain = np.frombuffer(b"".join(point.chain for point in self.points), "<u8").reshape(N, 2)
        if not strategy.ledger.points.equal(np.arange(N), version, chain).all():
            raise Broken("the server is not at the points of what it committed")
        for copy in range(COPIES):
            for clients, rows in self.devices.kept(copy):
                self._agree(rows, clients, version, chain, copy)

    def _agree(self, rows: Rows, clients: range, version: np.ndarray, chain: np.ndarray, copy: int) -> None:
        at, ids = np.arange(len(clients)), np.array(clients)
        for points, slot in ((rows.points, rows.current), (rows.staged, 1 - rows.current)):
            there = points.equal(at, version[ids], chain[ids])
            g: Tensor = rows.slots["g"][slot, at][there]
            if not torch.equal(g, self.g[ids][there]):
                raise Broken(f"of the clients {ids[there]} (copy {copy}) one has another g than the server believes")


def play(schedule: Schedule, say: object = None) -> Play:
    """The whole schedule, then quiet rounds. Raises: Broken."""
    with Play(schedule.world, schedule.disk) as run:
        for number, step in enumerate(schedule.steps, 1):
            if callable(say):
                say(f"round {number}: {step}")
            for event in step.events:
                run.event(event)
            run.round(step.fates, step.crash, step.order)
        run.end()
        return run
