"""Instructions to clients as Flower messages, and what comes back of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message

from fl_ef21 import records
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind, Point
from fl_ef21.errors import Refused
from fl_ef21.flower_stamp import Stamp
from fl_ef21.repair import Repair
from strategies.downlink import WHOLE
from strategies.flower_replies import read
from strategies.ledger import Ledger
from strategies.rounds import Heard

Carried = tuple[ArrayRecord | None, ConfigRecord | None]  # the model, and its version
NOTHING: Mapping[int, Carried] = {WHOLE: (None, None)}
NOBODY: Mapping[int, Repair] = {}


@dataclass(frozen=True)
class Letters:
    """Replies, opened.

    Attributes:
      heard: those that answer what was asked, in client order.
      rounds: (m,) int64, which round each of these was asked in.
      refused: why others cannot be used.
      lacking: the clients that lack something, with what they have.
      behind: those that have not the model they were sent increments of.
      leaving: those that said goodbye.
    """

    heard: Heard
    rounds: Array
    refused: list[Refused]
    lacking: dict[int, Point]
    behind: list[int]
    leaving: list[int]


class Post:
    """Makes and opens messages; `nodes` says which Flower node is which client."""

    def __init__(self, ledger: Ledger, nodes: Mapping[int, int]) -> None:
        self.ledger, self.nodes = ledger, nodes

    def messages(
        self, kind: Kind, clients: Array, round: int, carried: Mapping[int, Carried] = NOTHING,
        base: Array | None = None, repairs: Mapping[int, Repair] = NOBODY,
    ) -> Iterator[Message]:  # fmt: skip
        """One instruction a client, made as they are taken.

        carried: the records for each base; base (m,). repairs: by client, what it lacks.
        """
        packed = self.ledger.instruct(kind, clients, round)
        category = "train" if kind == Kind.TRAIN else "query"
        stamps = dict[int, Stamp]()
        for one, (model, version) in carried.items():
            content = records.instruction(model, packed[0], version)
            stamps[one] = Stamp(Message(content, 1, category, group_id=str(round)), records.PROTOCOL)
        which = [WHOLE] * len(clients) if base is None else base.tolist()
        for i, one, block in zip(clients.tolist(), which, packed, strict=True):
            message = stamps[one].to(self.nodes[i], {records.BLOCK: block})
            if i in repairs:
                message.content[records.REPAIR] = records.pack_repair(repairs[i])
            yield message

    def hello(self, nodes: Sequence[int]) -> Iterator[Message]:
        """Asks nodes whose client numbers are not known yet."""
        hello = self.ledger.hello()
        pattern = Message(records.instruction(None, hello), 1, "query", group_id="enrol")
        stamp = Stamp(pattern, records.PROTOCOL)
        return (stamp.to(node, {records.BLOCK: hello}) for node in nodes)

    def open(self, replies: Iterable[Message]) -> Letters:
        """Refuse what does not answer an open instruction."""
        packed, payloads, refused = list[bytes](), list[bytes](), list[Refused]()
        for message in replies:
            try:
                block, payload = read(message)
            except Refused as why:
                refused.append(why)
                continue
            packed.append(block)
            payloads.append(payload)
        answers, unasked = self.ledger.accept(packed)
        ids = answers["client"].astype(np.int64)
        told = {reason: [at for at, why in unasked.items() if why.reason == reason] for reason in _TELLING}
        lacking = {int(ids[at]): _point(answers[at]) for at in told["lacks"]}
        good = np.setdiff1d(np.arange(len(packed)), list(unasked))
        good = good[np.argsort(ids[good], kind="stable")]
        heard = Heard(ids[good], answers["version"][good].astype(np.int64), [payloads[at] for at in good.tolist()])
        behind, leaving = (ids[told[reason]].tolist() for reason in ("behind", "bye"))
        rounds = answers["round"][good].astype(np.int64)
        return Letters(heard, rounds, refused + list(unasked.values()), lacking, behind, leaving)


_TELLING = ("lacks", "behind", "bye")


def _point(answer: Array) -> Point:
    return Point(int(answer["version"]), answer["chain"].tobytes())
