"""Every order in which one client and the server may meet, breadth first: the real ledger, history and program.

One client is enough, as clients only meet in a sum. Messages never leave the network: whatever was sent may arrive at
any time, any number of times, or never, so that losses, repetitions and delays of any length are among the moves and
cost nothing. Of faults there are so many: the client's disk is wiped, restored from the one backup, or cloned; the
server dies, and another goes on from what was committed.

What a client or a server does depends on its own state and on one message alone. So each such pair is worked out
once with the real objects, and the search goes over values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from clients.program import Program
from fl_ef21 import wire
from fl_ef21.commit import Block, Kind, Point
from fl_ef21.repair import Repair
from fl_ef21.replay import added
from fl_ef21.store import Memory
from strategies.history import Kept
from strategies.ledger import Ledger
from tests.protocol.devices import put_row, row_image
from tests.protocol.world import DIM, world

SETUP = world("sgdm")
STRATEGY = SETUP.strategy(0, b"explored")
EXPERIMENT, FORMS = STRATEGY.ledger._experiment, STRATEGY.adder.forms
X = torch.zeros(DIM, dtype=torch.float64)

Disk = bytes | None  # what a client keeps: a key into `_disks`; None is nothing


@dataclass(frozen=True)
class Instruction:
    block: bytes
    repair: Repair | None = None


@dataclass(frozen=True)
class Reply:
    block: bytes
    payload: bytes


@dataclass(frozen=True)
class Server:
    """Attributes: committed, payloads in g; lacking, what the client says it has; open, what it may answer."""

    committed: tuple[bytes, ...] = ()
    term: int = 1
    seq: int = 0
    round: int = 0
    lacking: Point | None = None
    open: Instruction | None = None

    def ledger(self) -> Ledger:
        """The real one in this state."""
        ledger = Ledger(EXPERIMENT, SETUP.source, 0, 1)
        ledger.term = self.term
        for payload in self.committed:
            ledger.commit(np.array([0]), [payload])
        if self.open is not None:
            ledger._seq = self.seq - 1
            assert ledger.instruct(Kind.TRAIN, np.array([0]), self.round) == [self.open.block]
        ledger._seq = self.seq
        return ledger

    @property
    def point(self) -> Point:
        return self.ledger().points[0]


_disks: dict[bytes, Any] = {}


def _key(image: Any) -> bytes:
    slots, current, seen, points = image
    parts = [slot.numpy().tobytes() for slot in slots.values()] + [chain.tobytes() for _, chain in points]
    numbers = np.array([current, seen, *(version for version, _ in points)], np.int64).tobytes()
    return b"".join([numbers, *parts])


@cache
def answered(disk: Disk, asked: Instruction) -> tuple[Disk, Reply]:
    """What the client has after this instruction, and what it answers."""
    store = Memory(range(1))
    program = Program(SETUP.problem, SETUP.plans, store, SETUP.source, 1)
    if disk is not None:
        put_row(_open(store), 0, _disks[disk])
    repairs = {} if asked.repair is None else {0: asked.repair}
    answer = program.answer(X, [0], [asked.block], (), repairs)[0]
    assert isinstance(answer, tuple), answer
    image = row_image(_open(store), 0)
    _disks.setdefault(_key(image), image)
    return _key(image), Reply(*answer)


def _open(store: Memory) -> Any:
    from clients.ef21 import State as Vectors

    return store.open(EXPERIMENT, Vectors, range(1), DIM, torch.float64)


@cache
def asking(server: Server) -> Server:
    """The next round, as CompressedStrategy.configure_train asks."""
    ledger = replace(server, open=None).ledger()
    (block,) = ledger.instruct(Kind.TRAIN, np.array([0]), server.round + 1)
    repair = None
    if server.lacking is not None:
        history = Kept(FORMS, DIM, torch.float64, [Point.origin(EXPERIMENT, 0)])
        for payload in server.committed:
            history.add(np.array([0]), [payload])
        repair = history.repair(0, server.lacking)
    return replace(server, seq=ledger._seq, round=server.round + 1, open=Instruction(block, repair))


@cache
def hearing(server: Server, reply: Reply) -> Server:
    """The server after a reply, committed if it is accepted: as CompressedStrategy.aggregate_train does."""
    ledger = server.ledger()
    answers, refused = ledger.accept([reply.block])
    if not refused and not wire.decode([reply.payload], FORMS.of_version(len(server.committed), reply.payload))[1]:
        return replace(server, committed=(*server.committed, reply.payload), lacking=None, open=None)
    if refused and refused[0].reason == "lacks":
        lacking = Point(int(answers["version"][0]), answers["chain"][0].tobytes())
        return replace(server, lacking=lacking, open=None)
    return server if ledger._open[0] else replace(server, open=None)


class Table:
    """Values and the small numbers that stand for them."""

    def __init__(self) -> None:
        self.values, self._numbers = list[Any](), dict[Any, int]()

    def number(self, value: Any) -> int:
        """Of this value, the next one if it is new."""
        found = self._numbers.setdefault(value, len(self.values))
        if found == len(self.values):
            self.values.append(value)
        return found


class State(NamedTuple):
    """All values by their numbers; sent and replies, all that is in the network, are sets of bits."""

    server: int
    disks: tuple[int, ...]  # one for each copy of the client
    backup: int
    faults: int
    sent: int = 0
    replies: int = 0


class Explorer:
    """Attributes: states, transitions: how many; seen, by server, disks, backup and faults what the network had."""

    def __init__(self, rounds: int, faults: int) -> None:
        """So many rounds and faults at the most."""
        self.rounds, self.faults, self.states, self.transitions = rounds, faults, 0, 0
        self.servers, self.disks, self.sent, self.replies = Table(), Table(), Table(), Table()
        self._wiped = self.disks.number(None)
        self.seen: dict[Any, list[tuple[int, int]]] = {}
        self._known: dict[Any, Any] = {}

    def run(self) -> str:
        """What is broken in the first state where something is, "" where nothing ever is."""
        frontier = [State(self.servers.number(Server()), (self._wiped,), self._wiped, 0)]
        while frontier:
            ahead = list[State]()
            for state in frontier:
                for other in self._moves(state):
                    self.transitions += 1
                    if self._new(other):
                        ahead.append(other)
                        if why := self._broken(other):
                            return why
            frontier = ahead
        return ""

    def _new(self, state: State) -> bool:
        """Whether nothing that was seen can do all that this can: the same, with as much in the network."""
        best = self.seen.setdefault(state[:4], [])
        sent, replies = state.sent, state.replies
        for a, b in best:
            if a | sent == a and b | replies == b:
                return False
        best[:] = [(a, b) for a, b in best if a | sent != sent or b | replies != replies]
        best.append((sent, replies))
        self.states += 1
        return True

    def _moves(self, state: State) -> Iterator[State]:
        server, disks, backup, faults, sent, replies = state
        asked = self._asks(server)
        if asked is not None:
            yield State(asked[0], disks, backup, faults, sent | 1 << asked[1], replies)
        for reply in _bits(replies):
            if (after := self._hears(server, reply)) != server:
                yield State(after, disks, backup, faults, sent, replies)
        for copy, disk in enumerate(disks):
            for instruction in _bits(sent):
                kept, said = self._answers(disk, instruction)
                if kept != disk or said | replies != replies:
                    yield State(server, _with(disks, copy, kept), backup, faults, sent, replies | said)
        if backup == self._wiped and disks[0] != backup:
            yield State(server, disks, disks[0], faults, sent, replies)
        if faults < self.faults:
            for other in self._faults(state):
                yield other._replace(faults=state.faults + 1)

    def _faults(self, state: State) -> Iterator[State]:
        for copy in range(len(state.disks)):
            for disk in {self._wiped, state.backup}:
                yield state._replace(disks=_with(state.disks, copy, disk))
        if len(state.disks) == 1:
            yield state._replace(disks=state.disks * 2)
        server: Server = self.servers.values[state.server]
        again = replace(server, term=server.term + 1, seq=0, lacking=None, open=None, round=len(server.committed))
        yield state._replace(server=self.servers.number(again))

    def _asks(self, server: int) -> tuple[int, int] | None:
        if server not in self._known:
            now: Server = self.servers.values[server]
            found = None
            if now.round < self.rounds:
                then = asking(now)
                found = self.servers.number(then), self.sent.number(then.open)
            self._known[server] = found
        return self._known[server]  # type: ignore[no-any-return]

    def _hears(self, server: int, reply: int) -> int:
        key = server, reply
        if key not in self._known:
            after = hearing(self.servers.values[server], self.replies.values[reply])
            self._known[key] = self.servers.number(after)
        return self._known[key]  # type: ignore[no-any-return]

    def _answers(self, disk: int, instruction: int) -> tuple[int, int]:
        key = disk, instruction, "answers"
        if key not in self._known:
            kept, reply = answered(self.disks.values[disk], self.sent.values[instruction])
            told = Block.unpack(reply.block).kind != Kind.STALE  # which only tells the server to wait no longer
            self._known[key] = self.disks.number(kept), told << self.replies.number(reply)
        return self._known[key]  # type: ignore[no-any-return]

    def _broken(self, state: State) -> str:
        """Whoever is at the server's point has the g that the server believes in."""
        for disk in state.disks:
            if not self._agrees(state.server, disk):
                committed = len(self.servers.values[state.server].committed)
                return f"after {committed} commits a client at the server's point has another g"
        return ""

    def _agrees(self, server: int, disk: int) -> bool:
        key = server, disk, "agrees"
        if key not in self._known:
            point, g = held(self.servers.values[server].committed)
            kept = self.disks.values[disk]
            self._known[key] = kept is None or all(at != point or torch.equal(mine, g) for at, mine in states(kept))
        return self._known[key]  # type: ignore[no-any-return]


def states(disk: bytes) -> Iterator[tuple[Point, torch.Tensor]]:
    """The committed and the staged state of a client: its point and g."""
    slots, current, _, points = _disks[disk]
    for (version, chain), slot in zip(points, (current, 1 - current), strict=True):
        yield Point(int(version), chain.tobytes()), slots["g"][slot]


@cache
def held(committed: tuple[bytes, ...]) -> tuple[Point, torch.Tensor]:
    """What the server believes the client to have."""
    zero = torch.zeros(DIM, dtype=torch.float64)
    return Server(committed).point, added(zero, 0, committed, FORMS)


def _bits(set: int) -> Iterator[int]:
    while set:
        low = set & -set
        yield low.bit_length() - 1
        set ^= low


def _with(disks: tuple[int, ...], copy: int, disk: int) -> tuple[int, ...]:
    """Copies are alike, so their order does not matter."""
    if len(disks) == 1:
        return (disk,)
    other = disks[1 - copy]
    return (disk, other) if disk < other else (other, disk)


def takes_part(server: Server, disk: Disk) -> bool:
    """Whether a client that is asked again and again does so in the end."""
    server = replace(server, open=None)
    for _ in range(2):
        asked = asking(server)
        assert asked.open is not None
        disk, reply = answered(disk, asked.open)
        server = hearing(asked, reply)
        if len(server.committed) > len(asked.committed):
            return True
    return False
