"""Instructions to clients as Flower messages, and what comes back of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message

from fl_ef21 import records
from fl_ef21.blocks import Array
from fl_ef21.commit import HASH, Block, Kind, Point
from fl_ef21.errors import Refused
from fl_ef21.flower_stamp import Stamp
from fl_ef21.repair import Repair
from fl_ef21.sealing import ServerKeys, digest, digests
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
    """Makes and opens messages.

    Attributes:
      nodes: which Flower node is which client.
      keys: what instructions are signed with and replies are held against; None where nothing is signed.
    """

    def __init__(self, ledger: Ledger, nodes: Mapping[int, int]) -> None:
        self.ledger, self.nodes = ledger, nodes
        self.keys: ServerKeys | None = None

    def messages(
        self, kind: Kind, clients: Array, round: int, carried: Mapping[int, Carried] = NOTHING,
        base: Array | None = None, repairs: Mapping[int, Repair] = NOBODY,
    ) -> Iterator[Message]:  # fmt: skip
        """One instruction a client, made as they are taken.

        carried: the records for each base; base (m,). repairs: by client, what it lacks.
        """
        packed = self.ledger.instruct(kind, clients, round)
        category = "train" if kind == Kind.TRAIN else "query"
        stamps, told = dict[int, Stamp](), dict[int, dict[str, bytes]]()
        for one, (model, version) in carried.items():
            content = records.instruction(model, packed[0], version)
            stamps[one] = Stamp(Message(content, 1, category, group_id=str(round)), records.PROTOCOL)
            told[one] = digests(content) if self.keys is not None else {}  # of a model once, not for each client
        which = [WHOLE] * len(clients) if base is None else base.tolist()
        for i, one, block in zip(clients.tolist(), which, packed, strict=True):
            repair = records.pack_repair(repairs[i]) if i in repairs else None
            also = {} if repair is None or self.keys is None else {records.REPAIR: digest(repair)}
            message = stamps[one].to(self.nodes[i], self._signed(block, told[one] | also))
            if repair is not None:
                message.content[records.REPAIR] = repair
            yield message

    def _signed(self, block: bytes, others: Mapping[str, bytes]) -> dict[str, bytes]:
        """The protocol's entries; `others`: digests of the message's records."""
        values = {records.BLOCK: block}
        if self.keys is not None:
            values[records.SIGNATURE] = self.keys.sign(block, others)
        return values

    def hello(self, nodes: Sequence[int]) -> Iterator[Message]:
        """Asks nodes whose client numbers are not known yet."""
        content = records.instruction(None, self.ledger.hello())
        stamp = Stamp(Message(content, 1, "query", group_id="enrol"), records.PROTOCOL)
        told = digests(content) if self.keys is not None else {}
        return (stamp.to(node, self._signed(self._hello(node), told)) for node in nodes)

    def _hello(self, node: int) -> bytes:
        """Where it will be signed it names the node, so that no other can show this answer as its own."""
        hello = self.ledger.hello()
        return hello if self.keys is None else replace(Block.unpack(hello), point=Point(node, bytes(HASH))).pack()

    def who(self, reply: Message) -> int:
        """The client that a node says it is. Raises: Refused where it does not say, or cannot prove it."""
        packed = records.read_block(reply)
        block = Block.unpack(packed)
        if self.keys is not None:
            self.keys.check(reply, packed, block.client)
            asked = Block.unpack(self._hello(reply.metadata.src_node_id))
            if block != replace(asked, client=block.client):
                raise Refused("signature", f"what client {block.client} has signed was for another node or another run")
        return block.client

    def open(self, replies: Iterable[Message]) -> Letters:
        """Refuse what does not answer an open instruction."""
        packed, payloads, refused = list[bytes](), list[bytes](), list[Refused]()
        for message in replies:
            try:
                block, payload = read(message)
                if self.keys is not None:
                    self.keys.check(message, block, Block.unpack(block).client)
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
