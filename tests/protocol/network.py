"""A Flower Grid between the real server and the devices, which does to messages what a drawn fate says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from random import Random
from typing import Any

from flwr.app import Message

from clients.asked import Answer
from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import CLIENT_RAISED, error_reply, identify
from fl_ef21.flower_stamp import Stamp, name_message, node_of, records_of
from tests.protocol.devices import Crashed, Devices, Packet
from tests.protocol.world import N


@dataclass(frozen=True)
class Attempt:
    """One way of an instruction to the client and of its reply back.

    Attributes:
      later: whether it reaches the client in a later round.
      how: how the client fares with it, as for `Devices.answer`.
      back: rounds in which the reply arrives: 0 this one, 1 a later one.
      flipped: whether a bit of the reply is turned over.
      bye: whether the client says goodbye instead.
    """

    later: bool = False
    how: str = ""
    back: tuple[int, ...] = (0,)
    flipped: bool = False
    bye: bool = False


# that cost a round nobody: the client's reply to this instruction arrives all the same
HARMLESS = {
    "none": (Attempt(),),
    "ask twice": (Attempt(), Attempt()),
    "answer twice": (Attempt(back=(0, 0)),),
    "ask again later": (Attempt(), Attempt(later=True)),
    "answer again later": (Attempt(back=(0, 1)),),
    "lose reply, ask again": (Attempt(back=()), Attempt()),
    "crash, ask again": (Attempt(how="crash"), Attempt()),
    "answer, then crash": (Attempt(), Attempt(how="crash")),
    "answer, then raise": (Attempt(), Attempt(how="raise")),
}
FATES: dict[str, tuple[Attempt, ...]] = HARMLESS | {
    "lose instruction": (),
    "lose reply": (Attempt(back=()),),
    "late instruction": (Attempt(later=True),),
    "late reply": (Attempt(back=(1,)),),
    "very late": (Attempt(later=True, back=(1,)),),
    "crash": (Attempt(how="crash"),),
    "raise": (Attempt(how="raise"),),
    "NaN gradient": (Attempt(how="NaN"),),
    "flip": (Attempt(flipped=True),),
    "bye": (Attempt(bye=True),),
}


@dataclass(frozen=True)
class Fate:
    """What happens to one message; `where` says which bit, which copy of the client, how late, in which place."""

    kind: str = "none"
    where: int = 0


@dataclass(frozen=True)
class _Delivery:
    packet: Packet
    message: Message
    attempt: Attempt
    copy: int
    where: int


class Network:
    """Node i + 1 is client i. Only training is disturbed; other questions are answered by the first copies.

    Attributes:
      cloned: clients of which a second copy is alive.
      sent: every instruction so far, replies: every reply.
    """

    def __init__(self, devices: Devices) -> None:
        self.devices, self.now = devices, 0
        self.cloned, self.gone = set[int](), set[int]()
        self.sent, self.replies = list[_Delivery](), list[Message]()
        self._late = dict[tuple[int, bool], list[_Delivery]]()  # by (round, first in line)
        self._back = dict[tuple[int, bool], list[Message]]()
        self._fates: Sequence[Fate] = ()
        self._order, self._names, self._stamp = 0, 0, None
        identify(1)

    def plan(self, fates: Sequence[Fate], order: int) -> None:
        """The fates of the next round's messages by client; `order` shuffles them."""
        self._fates, self._order = fates, order

    def get_node_ids(self) -> list[int]:
        return [i + 1 for i in range(N) if i not in self.gone]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = [self._read(message) for message in messages]
        if not sent or Block.unpack(sent[0].packet.block).kind != Kind.TRAIN:
            return list(self._deliver(sent))
        self.now += 1
        self.sent += sent
        rng = Random(self._order)
        fresh = [copy for one in sent for copy in self._fated(one)]
        rng.shuffle(fresh)
        replies = list(self._deliver(fresh))
        rng.shuffle(replies)
        replies = self._due(True) + replies
        return replies + self._due(False)

    def _due(self, first: bool) -> list[Message]:
        """What is late and arrives now, before or after all that is in time."""
        return self._back.pop((self.now, first), []) + list(self._deliver(self._late.pop((self.now, first), [])))

    def again(self, kind: str, which: int) -> None:
        """An old instruction reaches its client once more, or another one; an old reply the server."""
        key = (self.now + 1, which % 2 == 0)
        if kind == "replay reply" and self.replies:
            self._back.setdefault(key, []).append(self.replies[which // 2 % len(self.replies)])
        elif kind != "replay reply" and self.sent:
            old = self.sent[which // 2 % len(self.sent)]
            if kind == "stray":
                client = (old.packet.client + 1 + which // 2 % (N - 1)) % N
                old = replace(old, packet=replace(old.packet, client=client))
            self._late.setdefault(key, []).append(replace(old, attempt=Attempt(), where=which))

    def _fated(self, one: _Delivery) -> Iterator[_Delivery]:
        """The deliveries of an instruction that take place now; others are noted."""
        client = one.packet.client
        fate = self._fates[client] if client < len(self._fates) else Fate()
        copies = ((0,), (1,), (0, 1), (1, 0))[fate.where % 4] if client in self.cloned else (0,)
        for attempt in FATES[fate.kind]:
            for copy in copies:
                delivery = replace(one, attempt=attempt, copy=copy, where=fate.where)
                if attempt.later:
                    self._late.setdefault(self._when(fate.where), []).append(delivery)
                else:
                    yield delivery

    def _when(self, where: int) -> tuple[int, bool]:
        return self.now + 1 + where // 2 % 3, where % 2 == 0

    def _deliver(self, deliveries: Sequence[_Delivery]) -> Iterator[Message]:
        """The replies that arrive now. What one store can answer with one model is one call, as in a shard."""
        for how, some in groupby(deliveries, key=lambda one: one.attempt.how):
            run = list(some)
            calls = [[one] for one in run] if how else _calls(run)
            for call in calls:
                try:
                    answers = self.devices.answer(call[0].copy, [one.packet for one in call], how)
                except Crashed:
                    continue
                for one, answer in zip(call, answers, strict=True):
                    yield from self._return(one, answer)

    def _return(self, one: _Delivery, answer: Answer) -> Iterator[Message]:
        if one.attempt.flipped and not isinstance(answer, Refused):
            answer = _flipped(*answer, one.where)
        if one.attempt.bye:
            answer = Block.answered(one.packet.block, Kind.BYE), b""
        reply = self._reply(one.message, answer)
        self.replies.append(reply)
        for later in one.attempt.back:
            if later:
                self._back.setdefault(self._when(one.where), []).append(reply)
            else:
                yield reply

    def _reply(self, message: Message, answer: Answer) -> Message:
        if isinstance(answer, Refused):
            return error_reply(message, CLIENT_RAISED, str(answer))
        if self._stamp is None:
            self._stamp = Stamp(Message(records.reply(b"", b""), reply_to=message), records.PROTOCOL)
        return self._stamp.reply(message, {records.BLOCK: answer[0], records.PAYLOAD: answer[1]})

    def _read(self, message: Message) -> _Delivery:
        self._names += 1
        name_message(message, str(self._names))
        content = records_of(message)
        model: Any = content.get(records.MODEL)
        key = records.version(content)
        if model is not None and self._model[0] is not model:
            self._model = (model, records.unpack_model(model))
        x = None if model is None else self._model[1]
        told, repair = records.read_broadcast(content), records.read_repair(content)
        packet = Packet(node_of(message) - 1, key, x, told, records.read_block(message), repair)
        return _Delivery(packet, message, Attempt(), 0, 0)

    _model: tuple[Any, Any] = (None, None)


def _calls(run: list[_Delivery]) -> list[list[_Delivery]]:
    def together(one: _Delivery) -> tuple[int, str]:
        return one.copy, str(one.packet.key)

    return [list(some) for _, some in groupby(sorted(run, key=together), key=together)]


def _flipped(block: bytes, payload: bytes, where: int) -> tuple[bytes, bytes]:
    """One bit of either is another."""
    data = block + payload
    at = where % (8 * len(data))
    data = data[: at // 8] + bytes((data[at // 8] ^ 1 << at % 8,)) + data[at // 8 + 1 :]
    return data[: len(block)], data[len(block) :]
