"""What the strategy uses of a Flower Grid, over the real client program, with faults by a drawn schedule.

The grid knows what each fault should do, so it also says whom a round should have heard and what it should refuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from clients.program import Program
from fl_ef21 import records, wire
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import CLIENT_RAISED, error_reply, identify
from fl_ef21.flower_stamp import name_message
from fl_ef21.messages import All, Floats, Indices, Seeded
from fl_ef21.problems.around import Around
from fl_ef21.types import Problem
from fl_ef21.wire.forms import FLOATS
from fl_ef21.wire.frame import HEAD
from fl_ef21.wire.values import FloatForm

LOSSES = ("lose instruction", "lose reply")
FAULTS = (
    *LOSSES, "ask twice", "ask again later", "ask again in vain",
    "answer twice", "late instruction", "late reply", "flip payload", "flip block", "NaN payload",
    "raise", "NaN gradient",
)  # fmt: skip
USABLE = ("none", "ask twice", "ask again later", "ask again in vain", "answer twice")


@dataclass(frozen=True)
class Fault:
    """What happens to one message; `where` picks the bit, the delay or the place in line."""

    kind: str = "none"
    where: int = 0


@dataclass(frozen=True)
class Turn:
    """One round: a fault for each client, should it be asked, and a seed that shuffles the replies."""

    faults: tuple[Fault, ...]
    order: int = 0


@dataclass
class Expected:
    """What a round should come to: who was asked, whose message is used, how many replies are refused why."""

    asked: list[int]
    heard: list[int] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class Troubled(Around):
    """A problem whose gradients fail in this way."""

    problem: Problem
    trouble: str

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        if self.trouble == "raise":
            raise RuntimeError("no battery")
        q = self.problem.gradients(x, clients, round)
        return q * torch.nan if self.trouble == "NaN gradient" else q


class FaultyGrid:
    """Node i + 1 is client i, node i + 1 + clients a copy of it. Only training is disturbed; audits tell the truth.

    Attributes:
      program: the client side; called anew for every message, as if the device had just been restarted.
      turns: the schedule; rounds beyond it are undisturbed.
      expected: of each round so far.
    """

    def __init__(self, clients: int, program: Callable[[], Program], turns: Iterable[Turn] = ()) -> None:
        self.clients, self.program, self.turns = clients, program, list(turns)
        self.expected: list[Expected] = []
        self._late: list[tuple[int, bool, Callable[[], Message]]] = []
        self._names = 0
        identify(1)

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.clients + 1))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        for message in sent:
            self._names += 1
            name_message(message, str(self._names))
        training = sent and _block(sent[0]).kind == Kind.TRAIN
        return self._round(sent) if training else [self._answer(message) for message in sent]

    def _round(self, messages: list[Message]) -> list[Message]:
        now = len(self.expected)
        self.expected.append(Expected([self._client(message) for message in messages]))
        due = [(first, deliver) for when, first, deliver in self._late if when == now]
        self.expected[-1].refused.update({"stale": len(due)} if due else {})
        turn = self.turns[now] if now < len(self.turns) else Turn((Fault(),) * self.clients)
        front = [deliver() for first, deliver in due if first]
        fresh = [reply for message in messages for reply in self._carry(message, turn.faults[self._client(message)])]
        Random(turn.order).shuffle(fresh)
        return front + fresh + [deliver() for first, deliver in due if not first]

    def _carry(self, message: Message, fault: Fault) -> list[Message]:
        """The replies to one instruction that arrive in this round."""
        expected = self.expected[-1]
        if fault.kind in USABLE:
            expected.heard.append(self._client(message))
        match fault.kind:
            case "lose instruction":
                return []
            case "late instruction":
                return self._delay(fault, lambda: self._answer(message))
        reply = self._answer(message, fault.kind)
        match fault.kind:
            case "lose reply":
                return []
            case "late reply":
                return self._delay(fault, lambda: reply)
            case "ask twice" | "answer twice":
                expected.refused["stale"] += 1
                return [reply, reply if fault.kind == "answer twice" else self._answer(message)]
            case "ask again later":
                return [reply, *self._delay(fault, lambda: self._answer(message))]
            case "ask again in vain":
                expected.refused["client raised"] += 1
                return [reply, self._answer(message, "raise")]
            case "flip payload" | "flip block" | "NaN payload":
                reply, reason = _damage(message, reply, fault)
                expected.refused[reason] += 1
            case "raise" | "NaN gradient":
                expected.refused["client raised" if fault.kind == "raise" else "gradient"] += 1
        return [reply]

    def _delay(self, fault: Fault, deliver: Callable[[], Message]) -> list[Message]:
        self._late.append((len(self.expected) + fault.where // 2 % 2, fault.where % 2 == 0, deliver))
        return []

    def _client(self, message: Message) -> int:
        return (message.metadata.dst_node_id - 1) % self.clients

    def _answer(self, message: Message, trouble: str = "") -> Message:
        program, client = self.program(), self._client(message)
        program.problem = Troubled(program.problem, trouble)  # type: ignore[assignment]
        model: Any = message.content.get(records.MODEL)
        try:
            x, told = None if model is None else records.unpack_model(model), records.read_broadcast(message.content)
            repair = records.read_repair(message.content)
            repairs = {} if repair is None else {0: repair}
            got = program.answer(x, [client], [records.read_block(message)], [told], repairs)[0]
        except RuntimeError as error:
            return error_reply(message, CLIENT_RAISED, str(error))
        if isinstance(got, Refused):
            return error_reply(message, CLIENT_RAISED, str(got))
        return Message(records.reply(*got), reply_to=message)


def _block(message: Message) -> Block:
    return Block.unpack(records.read_block(message))


def _damage(message: Message, reply: Message, fault: Fault) -> tuple[Message, str]:
    """The reply as it arrives, and the reason for which it should be refused."""
    block, payload = records.read_answer(reply)
    if not payload:  # of a client that lacks something, as it may where a test breaks the protocol
        return reply, "lacks"
    if fault.kind == "flip block":
        at = fault.where % (8 * len(block))
        block, reason = _flipped(block, at), _why_block(at)
    elif fault.kind == "flip payload":
        at = fault.where % (8 * len(payload))
        reason = _why_payload(at)
        if reason == "count":  # upwards, as fewer entries may be sent
            at = 8 * (HEAD.itemsize - 1) + 7
        payload, codes = _flipped(payload, at), _spec(payload).codes
        if reason == "codes" and payload[4] in codes:  # another way to write, so that only the checksum tells
            reason = "crc"
    else:
        payload, reason = _poisoned(payload), "values"
    return Message(records.reply(block, payload), reply_to=message), reason


def _spec(payload: bytes) -> wire.Spec:
    """Of floats, as its head says."""
    head = np.frombuffer(payload[: HEAD.itemsize], dtype=HEAD)[0]
    support = (All, Indices, Seeded)[head["kind"] >> 4]
    return wire.Spec(int(head["dim"]), int(head["count"]), support, FloatForm(FLOATS[head["kind"] & 15]))


def _poisoned(payload: bytes) -> bytes:
    """The same with a last number that is none."""
    c, _ = wire.decode([payload], _spec(payload))
    flat = c.values.real(c.counts).to(_spec(payload).form.dtype)  # type: ignore[attr-defined]
    flat[-1] = torch.nan
    return wire.encode(replace(c, values=Floats(flat)))[0]


def _flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes((data[bit // 8] ^ 1 << bit % 8,)) + data[bit // 8 + 1 :]


def _why_block(bit: int) -> str:
    """Magic, then the kind, where UPDATE is one bit from LACKS and from STALE, then what must be as it was asked."""
    if bit < 16 or (bit < 24 and bit not in (16, 17)):
        return "block"
    return "lacks" if bit == 16 else "stale"


def _why_payload(bit: int) -> str:
    """The field of the frame's head that holds the bit, else the checksum."""
    inside = [name for name in HEAD.names or () if (HEAD.fields or {})[name][1] <= bit // 8 < HEAD.itemsize]
    return inside[-1] if inside else "crc"
