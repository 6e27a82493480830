"""A deployment's Grid without processes: nodes that come, go and take their time, by a clock that tests turn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import Message
from flwr.superlink.grid import HttpGrid

from fl_ef21 import records
from fl_ef21.commit import Block
from fl_ef21.flower_internals import NODE_UNAVAILABLE, error_reply
from fl_ef21.flower_stamp import name_message
from strategies import flower_exchange, flower_nodes
from strategies.rounds import Round
from tests.strategies.kept import N, Run


class Clock:
    """Of one test; whoever sleeps turns it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-9)


@dataclass
class Sent:
    """A message; when its node will have answered, and the answer."""

    message: Message
    due: float
    reply: Message | None = None
    taken: bool = field(default=False)


class Deployment(HttpGrid):
    """Node i + 1 is client i, over the real client program of a run.

    Attributes:
      there: since when each node is there.
      takes: seconds that each client takes; a tenth for those who are not named.
      looks: when replies were looked for.
      at: what happens at some moments, as (when, what), in order.
    """

    def __init__(self, run: Run, clock: Clock) -> None:
        self.run_, self.clock = run, clock
        self.there = dict.fromkeys(range(1, N + 1), "2026-01-01")
        self.takes: dict[int, float] = {}
        self.looks, self.at = list[float](), list[tuple[float, Any]]()
        self.sent: dict[str, Sent] = {}

    @property
    def rounds(self) -> list[tuple[int, int]]:
        """Round and client of every message of training."""
        blocks = [Block.unpack(records.read_block(one.message)) for one in self.sent.values()]
        return [(block.round, block.client) for block in blocks if block.kind == 2]

    def get_nodes(self) -> list[Any]:
        self._happen()
        return [SimpleNamespace(node_id=node, last_activated_at=since) for node, since in self.there.items()]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in messages:
            node, name = message.metadata.dst_node_id, f"message-{len(self.sent)}"
            name_message(message, name)
            due = self.clock.now + self.takes.get((node - 1) % N, 0.1) if node in self.there else inf
            self.sent[name] = Sent(message, due)
            names.append(name)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._happen()
        self.looks.append(self.clock.now)
        got = []
        for one in (self.sent[name] for name in message_ids):
            if one.reply is not None and not one.taken:
                one.taken = True
                got.append(one.reply)
            elif one.reply is None and one.message.metadata.dst_node_id not in self.there:
                got.append(error_reply(one.message, NODE_UNAVAILABLE, "the node is gone"))
        return got

    def kill(self, node: int) -> None:
        """What it has fetched is never answered; that it is gone is not known yet."""
        for one in self.sent.values():
            if one.message.metadata.dst_node_id == node and one.reply is None:
                one.due = inf

    def restart(self, node: int) -> None:
        self.kill(node)
        self.there[node] = f"2026-01-02 {self.clock.now:09.3f}"

    def _happen(self) -> None:
        """All that is due by now, in order."""
        while self.at and self.at[0][0] <= self.clock.now:
            self.at.pop(0)[1]()
        for one in sorted(self.sent.values(), key=lambda one: one.due):
            if one.due <= self.clock.now and one.reply is None:
                one.reply = self.run_.grid._answer(one.message)


def deploy(run: Run, patch: pytest.MonkeyPatch) -> Deployment:
    """A deployment of this run, whose clock is everybody's."""
    clock = Clock()
    patch.setattr(flower_exchange, "time", clock)
    patch.setattr(flower_nodes, "time", clock)
    return Deployment(run, clock)


def trained(run: Run, grid: Deployment, rounds: int, timeout: float | None = None) -> list[Round]:
    """So many more rounds."""
    done = run.strategy.last.number
    return list(run.strategy.rounds(grid, done + rounds, timeout, done))
