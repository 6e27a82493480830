"""Virtual time of one method: what each of its rounds would have taken on the devices of [devices]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from fl_ef21 import flower_traffic
from fl_ef21.blocks import Array
from fl_ef21.clock import Clock, Spans, Work
from fl_ef21.devices.fleet import Looks
from fl_ef21.errors import InputError, Refused
from fl_ef21.traffic import Traffic
from scenarios import fleets, timeline_file
from scenarios.by_class import each
from scenarios.device_sums import DeviceSums
from scenarios.flights import Flight, Flights, usable
from scenarios.schema import Scenario
from scenarios.timeline_file import AT, FATE, NUMBERS
from strategies.flower import CompressedStrategy
from strategies.flower_exchange import GROWTH, LONG, SHORT
from strategies.flower_replies import read

FREE, SUMS, ROWS = "clock.free", "clock.sums", "clock.rows"  # in a cut
LOOKS: Looks | None = Looks(SHORT, LONG, GROWTH)
NONE: Array = np.zeros((0, len(NUMBERS)))


def check(scenario: Scenario, real: bool) -> None:
    """Raises: InputError where there can be no virtual time, or nothing without it."""
    if scenario.devices is None:
        if scenario.train.mode == "buffered" and not real:
            advice = "in a simulation needs [devices]: their clock says whose replies come first"
            raise InputError("train.mode", "buffered", advice)
        return
    fleets.check(scenario)
    if real and scenario.train.mode == "buffered":
        advice = "tells nothing of buffered rounds on real devices, which come by the wall's clock; remove the section"
        raise InputError("devices", scenario.devices.profile, advice)
    if scenario.evaluate.traffic == "off":
        advice = '[devices] is about bytes on the wire; keep the account of them, with "rounds"'
        raise InputError("evaluate.traffic", "off", advice)


@dataclass
class Turn:
    """The round under way, where the clock says whose replies the server sees.

    Attributes:
      spans, rows: of those who were asked; `fate` is a column of rows.
      now: when it is over.
      landed: flights of earlier rounds that the server sees in this one.
      known: (m,) bool, whose row will not change any more.
    """

    spans: Spans
    rows: Array
    now: float
    landed: list[Flight] = field(default_factory=list)
    known: Array = field(default_factory=lambda: np.zeros(0, bool))


class Timing:
    """The clock of a method.

    Attributes:
      clock: between two rounds.
      deadline: seconds of a round, virtual ones in a simulation; None where there is none.
      flights: replies that have not arrived yet.
      rows: of the timeline, (m, len(NUMBERS)), that became known in the last round.
    """

    def __init__(self, scenario: Scenario, clients: int, effort: tuple[float, Array | float] = (1.0, 0.0)) -> None:
        """effort: stochastic gradients that the method takes a local step, and what it takes besides, (n,) of these.

        Raises: InputError where the profile cannot be used.
        """
        assert scenario.devices is not None
        self.fleet = fleets.fleet(scenario, clients, LOOKS)
        self.clock, self.flights, self.sums = Clock.start(clients), Flights(), DeviceSums(clients)
        self.rows, self.deadline, self._real = NONE, scenario.train.timeout, False
        wanted = each(scenario, "train.local_steps", scenario.train.local_steps)
        dealt = np.array([wanted] if isinstance(wanted, int) else wanted, dtype=np.float64)
        gradients, besides = effort
        self._steps: Array = scenario.devices.work * (gradients * dealt[np.arange(clients) % len(dealt)] + besides)
        self._turn: Turn | None = None

    def timeout(self, real: bool) -> float | None:
        """Seconds of the wall's clock for a round: on real devices the deadline is that, else it is virtual."""
        self._real = real
        return self.deadline if real else None

    # A round --------------------------------------------------------------------------------------

    def punctual(self, strategy: CompressedStrategy, replies: Sequence[Message]) -> list[Message]:
        """The replies that the server sees in the round under way, those of earlier rounds too."""
        down = strategy.down
        wanted = strategy.wanted if strategy.quorum.factor > 1 else None
        buffered = strategy.buffer is not None
        if down is None or self._real or (self.deadline is None and wanted is None and not buffered):
            return list(replies)
        of = {strategy.nodes.of[client]: at for at, client in enumerate(down.clients.tolist())}
        mine: list[list[Message]] = [[] for _ in of]
        aside = list[Message]()  # of nobody who was asked, as chaos has it
        for message in replies:
            at = of.get(message.metadata.src_node_id)
            (aside if at is None else mine[at]).append(message)
        answered = np.array([bool(some) for some in mine], dtype=bool)
        sizes = [_size(some[0]) if some else 0 for some in mine]
        cost = flower_traffic.replies(sizes, signed=strategy.account.signed)
        up, back = np.where(answered, cost.up, 0), np.where(answered, cost.down, 0)
        work = self._work(strategy.last.number + 1, down.clients, down.wire.up + up, down.wire.down + back)
        turn, answered = self._begin(work, answered), answered & np.array([any(map(usable, some)) for some in mine])
        superseded = self._superseded(down.clients)
        if buffered:
            on_time = self._buffered(strategy, turn, answered)
        else:
            on_time = self._synchronous(strategy, turn, answered, wanted)
        late = answered & ~on_time
        flying = late if strategy.late == "apply" else np.zeros_like(late)
        self.flights.add(
            Flight(int(down.clients[at]), strategy.last.number + 1, tuple(turn.rows[at].tolist()), tuple(mine[at]))
            for at in np.flatnonzero(flying).tolist()
        )
        turn.known = ~flying
        self.rows = np.concatenate([self.rows, superseded])
        self._turn, strategy.busy = turn, np.array(self.flights.clients if buffered else [], dtype=np.int64)
        here = [one for at, some in enumerate(mine) if not late[at] for one in some]
        return aside + here + [one for flight in turn.landed for one in flight.messages]

    def _superseded(self, clients: Array) -> Array:
        """Nobody hears any more what these were asked before."""
        gone = self.flights.take(clients.tolist())
        self.sums.count("late", np.array([one.client for one in gone], dtype=np.int64))
        return _rows(gone, "late")

    def _synchronous(self, strategy: CompressedStrategy, turn: Turn, answered: Array, wanted: int | None) -> Array:
        turn.now, on_time = self.clock.synchronous(self.fleet, turn.spans, answered, self.deadline, wanted)
        until = np.inf if self.deadline is None else self.clock.out(self.fleet) + self.deadline
        _mark(turn, answered & ~on_time & (turn.spans.arrives <= until), "surplus")
        _mark(turn, answered & (turn.spans.arrives > until), "late")
        turn.landed = self.flights.take(one.client for one in self.flights.all() if one.arrives <= turn.now)
        return on_time

    def _buffered(self, strategy: CompressedStrategy, turn: Turn, answered: Array) -> Array:
        before = self.flights.all()
        arrives = np.append([one.arrives for one in before], turn.spans.arrives[answered])
        everybody = strategy.begins(strategy.last.number + 1)
        wanted = len(arrives) if everybody else strategy.wanted
        deadline = None if everybody else self.deadline
        turn.now, there = self.clock.buffered(self.fleet, arrives, wanted, deadline)
        turn.landed = self.flights.take(one.client for one, here in zip(before, there.tolist(), strict=False) if here)
        on_time = np.zeros_like(answered)
        on_time[np.flatnonzero(answered)] = there[len(before) :]
        return on_time

    def count(self, spent: Traffic, used: Array) -> float:
        """Virtual seconds so far, after a round that cost this, in which these clients' messages were added."""
        turn = self._turn
        if turn is None:
            asked = np.flatnonzero(spent.asked)
            up, down = spent.uplink.wire_bytes[asked], spent.downlink.wire_bytes[asked]
            turn = self._begin(self._work(spent.round, spent.clients[asked], up, down), spent.answered[asked])
            turn.now, _ = self.clock.synchronous(self.fleet, turn.spans, spent.answered[asked])
            turn.known = np.ones(len(asked), bool)
        mine = np.isin(turn.spans.clients, used)
        _mark(turn, mine, "used", spent.round)
        landed = np.array([one.client for one in turn.landed], dtype=np.int64)
        heard = np.isin(landed, used)
        self.sums.count("used", np.append(turn.spans.clients[mine], landed[heard]))
        fate = turn.rows[:, AT["fate"]]
        for name, fates in (("late", ("late", "surplus")), ("lost", ("lost",))):
            these = turn.known & np.isin(fate, [FATE[one] for one in fates])
            self.sums.count(name, turn.spans.clients[these])
        self.sums.count("lost", landed[~heard])
        came = [_rows([one], "later" if good else "lost", spent.round if good else -1)
                for one, good in zip(turn.landed, heard.tolist(), strict=True)]  # fmt: skip
        self.rows = np.concatenate([self.rows, turn.rows[turn.known], *came])
        self.clock, self._turn = self.clock.after(turn.now, turn.spans), None
        return self.clock.now

    def told(self) -> Array:
        """The rows that became known since the last call."""
        found, self.rows = self.rows, NONE
        return found

    def rest(self) -> Array:
        """Rows of what nobody has heard when the method is over."""
        return _rows(self.flights.all(), "busy")

    def _work(self, round: int, clients: Array, up: Array, down: Array) -> Work:
        return Work(clients, up, down, flower_traffic.trips(), self._steps[clients], round)

    def _begin(self, work: Work, answered: Array) -> Turn:
        """The round's spans and rows, all replies lost until more is known."""
        spans = self.clock.spans(self.fleet, work)
        joules, m = self.sums.work(self.fleet, spans), len(work.clients)
        arrives = np.where(answered, spans.arrives, np.nan)
        columns = {
            "round": np.full(m, work.round), "client": work.clients, "asked": np.full(m, self.clock.out(self.fleet)),
            "begins": spans.begins, "downloaded": spans.downloaded, "computed": spans.computed, "arrives": arrives,
            "fate": np.full(m, FATE["lost"]), "used_round": np.full(m, -1.0), "up_bytes": work.up,
            "down_bytes": work.down, "joules": joules,
        }  # fmt: skip
        rows = np.stack([np.asarray(columns[name], np.float64) for name in NUMBERS], axis=1)
        return Turn(spans, rows, self.clock.now)

    # To go on later -------------------------------------------------------------------------------

    def image(self) -> dict[str, Tensor]:
        """What it takes to go on, besides the time."""
        return {FREE: torch.from_numpy(self.clock.free), SUMS: self.sums.image(), **self.flights.image()}

    def note(self, rows: Array) -> dict[str, Any]:
        """The same, as JSON can keep it, and the round's rows of the timeline."""
        sums = self.sums.table.tolist()
        return {FREE: self.clock.free.tolist(), SUMS: sums, ROWS: timeline_file.pack(rows), **self.flights.note()}

    def redo(self, note: Mapping[str, Any], now: float, strategy: CompressedStrategy) -> Array:
        """Be as after the round that left this note: its rows. A round that will be computed again left none."""
        if FREE not in note:
            return NONE
        self.clock = Clock(now, np.array(note[FREE], dtype=np.float64))
        self.sums.table = np.array(note[SUMS], dtype=np.float64)
        strategy.ledger.close()
        self._resume(Flights.from_note(note, strategy), strategy)
        return timeline_file.unpack(note[ROWS])

    def restore(self, tensors: Mapping[str, Tensor], now: float, strategy: CompressedStrategy) -> None:
        self.clock = Clock(now, tensors[FREE].numpy().copy())
        self.sums.restore(tensors[SUMS])
        self._resume(Flights.restore(tensors, strategy), strategy)

    def _resume(self, flights: Flights, strategy: CompressedStrategy) -> None:
        self.flights = flights
        if strategy.buffer is not None:
            strategy.busy = np.array(flights.clients, dtype=np.int64)


def _mark(turn: Turn, which: Array, fate: str, round: int = -1) -> None:
    turn.rows[which, AT["fate"]], turn.rows[which, AT["used_round"]] = FATE[fate], round


def _rows(flights: Sequence[Flight], fate: str, round: int = -1) -> Array:
    rows = np.array([one.row for one in flights], dtype=np.float64).reshape(-1, len(NUMBERS))
    rows[:, AT["fate"]], rows[:, AT["used_round"]] = FATE[fate], round
    return rows


def _size(message: Message) -> int:
    try:
        return len(read(message)[1])
    except Refused:
        return 0
