"""When g may change: only once the server is known to have the message.

A client computes from its last committed state and keeps the result as staged. Every instruction
says how many of the client's increments the server holds (`version`) and a hash chain over them
(`chain`). The client then promotes what it staged, drops it, or answers that it lacks something:
two-phase commit whose verdict rides in the next message. Instructions are ordered by the server's term,
raised at each of its starts, and a sequence number: one that is older than another already seen changes
nothing. The same instruction again gets the same answer, since all randomness is keyed by client and round.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from typing import ClassVar

from fl_ef21.errors import Refused

HASH = 16  # bytes of an experiment id, a chain, a source digest


class Kind(IntEnum):
    """What the server asks for, and what a client answers."""

    HELLO = 1  # who are you?
    TRAIN = 2  # one step from the model sent along
    AUDIT = 3  # your g, to check that the server's is their sum
    RETIRE = 4  # the experiment is over: forget its state
    SHADOW = 5  # figures of what other compressors would send next, from the model sent along; nothing is staged
    MEASURE = 6  # how far your v and g are from what they stand for, at the model sent along; nothing is staged
    UPDATE = 16  # an increment, computed from the point the instruction named
    LACKS = 17  # the client has not what the server says it holds
    STALE = 18  # the instruction is older than one already followed
    BEHIND = 19  # the client has no model that the increments it was sent start from
    BYE = (
        31  # the client leaves, its part of g with it; several bits from all others, as one that flips must not do that
    )
    EVALUATE = 104  # sums over your samples at the model sent along (fl_ef21.measured); likewise far from all others


@dataclass(frozen=True)
class Point:
    """A state of one client: the increments in it, and a hash chain over their payloads."""

    version: int
    chain: bytes

    @staticmethod
    def origin(experiment: bytes, client: int, epoch: int = 0) -> Point:
        """Before the first increment; `epoch` counts how often the client has left and come back."""
        told = experiment + client.to_bytes(8, "little") + (epoch.to_bytes(4, "little") if epoch else b"")
        return Point(0, blake2b(told, digest_size=HASH).digest())

    def then(self, payload: bytes) -> Point:
        """After one more increment."""
        return Point(self.version + 1, blake2b(self.chain + payload, digest_size=HASH).digest())


@dataclass(frozen=True)
class Block:
    """The protocol's part of a message, 76 bytes: an instruction's, or copied into its reply.

    Attributes:
      kind: what is asked or answered.
      plan: which method of the scenario.
      client: who is meant or who answers (our own identity, never Flower's node id).
      round: of training, from 1.
      term, seq: which start of the server, and a count of its instructions: together never used twice.
      point: in an instruction what the server holds, in a reply what the increment was computed from.
      experiment: one run of one method.
      source: digest of the code and the scenario; both sides must agree.
    """

    kind: Kind
    plan: int
    client: int
    round: int
    term: int
    seq: int
    point: Point
    experiment: bytes
    source: bytes

    size: ClassVar[int] = 76
    _layout = struct.Struct("<2sBBIIIIQ16s16s16s")
    _magic = b"E\x02"

    def pack(self) -> bytes:
        return self._layout.pack(
            self._magic, self.kind, self.plan, self.client, self.round, self.term, self.seq,
            self.point.version, self.point.chain, self.experiment, self.source,
        )  # fmt: skip

    @staticmethod
    def answered(packed: bytes, kind: Kind) -> bytes:
        """A packed instruction as a reply of this kind that is computed from the point it names."""
        return packed[:2] + bytes((kind,)) + packed[3:]

    @classmethod
    def unpack(cls, data: bytes) -> Block:
        """Raises: Refused("block") on anything that is not a block."""
        if not isinstance(data, bytes) or len(data) != cls._layout.size or data[:2] != cls._magic:
            raise Refused("block", "not a block of this protocol version")
        _, kind, plan, client, round, term, seq, version, chain, experiment, source = cls._layout.unpack(data)
        if kind not in Kind._value2member_map_:
            raise Refused("block", f"unknown kind {kind}")
        return cls(Kind(kind), plan, client, round, term, seq, Point(version, chain), experiment, source)
