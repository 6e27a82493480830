"""Virtual time of one method: what each of its rounds would have taken on the devices of [devices]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from fl_ef21 import flower_traffic
from fl_ef21.blocks import Array
from fl_ef21.clock import Clock, Work
from fl_ef21.devices.fleet import Looks
from fl_ef21.errors import InputError, Refused
from fl_ef21.traffic import Traffic
from scenarios import fleets
from scenarios.schema import Scenario
from strategies.flower import CompressedStrategy
from strategies.flower_exchange import GROWTH, LONG, SHORT
from strategies.flower_replies import read

FREE = "clock.free"  # in a cut
LOOKS: Looks | None = Looks(SHORT, LONG, GROWTH)


def check(scenario: Scenario, real: bool) -> None:
    """Raises: InputError where there can be no virtual time."""
    if scenario.devices is None:
        return
    fleets.check(scenario)
    if scenario.evaluate.traffic == "off":
        advice = '[devices] is about bytes on the wire; keep the account of them, with "rounds"'
        raise InputError("evaluate.traffic", "off", advice)
    train = scenario.train
    if not real and train.late == "apply" and (train.timeout is not None or train.over_selection > 1):
        advice = (
            'simulated devices that are late are not heard later; use "discard", or leave train.timeout and '
            "train.over_selection out"
        )
        raise InputError("train.late", "apply", advice)


class Timing:
    """The clock of a method.

    Attributes:
      clock: between two rounds.
      deadline: seconds of a round, virtual ones in a simulation; None where there is none.
    """

    def __init__(self, scenario: Scenario, clients: int) -> None:
        """Raises: InputError where the profile cannot be used."""
        assert scenario.devices is not None
        self.fleet = fleets.fleet(scenario, clients, LOOKS)
        self.clock = Clock.start(clients)
        self.deadline, self._real = scenario.train.timeout, False
        wanted = scenario.train.local_steps
        dealt = np.array([wanted] if isinstance(wanted, int) else wanted, dtype=np.float64)
        self._steps: Array = scenario.devices.work * dealt[np.arange(clients) % len(dealt)]
        self._held: Clock | None = None

    def timeout(self, real: bool) -> float | None:
        """Seconds of the wall's clock for a round: on real devices the deadline is that, else it is virtual."""
        self._real = real
        return self.deadline if real else None

    def punctual(self, strategy: CompressedStrategy, replies: Sequence[Message]) -> list[Message]:
        """The replies of the round under way that come in time: before the deadline, and before there are enough."""
        down = strategy.down
        wanted = strategy.wanted if strategy.quorum.factor > 1 else None
        if down is None or self._real or (self.deadline is None and wanted is None):
            return list(replies)
        sizes = {message.metadata.src_node_id: _size(message) for message in replies}
        nodes = [strategy.nodes.of[client] for client in down.clients.tolist()]
        answered = np.array([node in sizes for node in nodes], dtype=bool)
        cost = flower_traffic.replies([sizes.get(node, 0) for node in nodes], signed=strategy.account.signed)
        up, back = np.where(answered, cost.up, 0), np.where(answered, cost.down, 0)
        work = self._work(down.clients, down.wire.up + up, down.wire.down + back, answered)
        self._held, on_time = self.clock.round(self.fleet, work, self.deadline, wanted)
        late = {node for node, here in zip(nodes, on_time.tolist(), strict=True) if not here}
        return [message for message in replies if message.metadata.src_node_id not in late]

    def count(self, spent: Traffic) -> float:
        """Virtual seconds so far, after a round that cost this."""
        if self._held is None:
            work = self._work(spent.clients, spent.uplink.wire_bytes, spent.downlink.wire_bytes, spent.answered)
            self._held, _ = self.clock.round(self.fleet, work)
        self.clock, self._held = self._held, None
        return self.clock.now

    def _work(self, clients: Array, up: Array, down: Array, answered: Array) -> Work:
        return Work(clients, up, down, flower_traffic.trips(), self._steps[clients], answered)

    def image(self) -> dict[str, Tensor]:
        """What it takes to go on, besides the time."""
        return {FREE: torch.from_numpy(self.clock.free)}

    def note(self) -> dict[str, Any]:
        """The same, as JSON can keep it."""
        return {FREE: self.clock.free.tolist()}

    def redo(self, note: Mapping[str, Any], now: float) -> None:
        """Be as after the round that left this note; a round that will be computed again left none."""
        if FREE in note:
            self.clock = Clock(now, np.array(note[FREE], dtype=np.float64))

    def restore(self, tensors: Mapping[str, Tensor], now: float) -> None:
        self.clock = Clock(now, tensors[FREE].numpy().copy())


def _size(message: Message) -> int:
    try:
        return len(read(message)[1])
    except Refused:
        return 0
