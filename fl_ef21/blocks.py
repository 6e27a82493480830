"""The protocol's blocks and points of many clients at once, as NumPy arrays.

One element of `LAYOUT` is a packed `fl_ef21.commit.Block`, byte for byte. Hashes are pairs of words, to be compared
by `same`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from fl_ef21.commit import HASH, Block, Kind, Point
from fl_ef21.errors import Refused

Array = np.ndarray[Any, Any]

_WORDS = ("<u8", 2)
LAYOUT = np.dtype([
    ("magic", "<u2"), ("kind", "u1"), ("plan", "u1"), ("client", "<u4"), ("round", "<u4"), ("term", "<u4"),
    ("seq", "<u4"), ("version", "<u8"), ("chain", *_WORDS), ("experiment", *_WORDS), ("source", *_WORDS),
])  # fmt: skip
_MAGIC = int.from_bytes(Block._magic, "little")
_KINDS = np.array([kind.value for kind in Kind])


def words(hash: bytes) -> Array:
    """A 16-byte hash as (2,) uint64."""
    return np.frombuffer(hash, dtype="<u8")


def same(a: Array, b: Array) -> Array:
    """(n,) whether the hashes (n, 2) or (2,) are equal."""
    equal: Array = (a == b).all(axis=-1)
    return equal


def parse(packed: Sequence[bytes]) -> tuple[Array, dict[int, Refused]]:
    """The blocks (n,), and why some are none; what stands in those places means nothing."""
    size = LAYOUT.itemsize
    refused: dict[int, Refused] = {}
    for at, data in enumerate(packed):
        if not isinstance(data, bytes) or len(data) != size:
            refused[at] = Refused("block", "not a block of this protocol version")
    sound = [bytes(size) if at in refused else data for at, data in enumerate(packed)] if refused else packed
    blocks = np.frombuffer(b"".join(sound), dtype=LAYOUT)
    for at in np.flatnonzero((blocks["magic"] != _MAGIC) | ~np.isin(blocks["kind"], _KINDS)).tolist():
        if blocks["magic"][at] == _MAGIC:
            refused[at] = Refused("block", f"unknown kind {blocks['kind'][at]}")
        refused.setdefault(at, Refused("block", "not a block of this protocol version"))
    return blocks, refused


def pack(blocks: Array) -> list[bytes]:
    """Each block's bytes."""
    data, size = blocks.tobytes(), LAYOUT.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]


def answered(blocks: Array, kind: Kind | Array) -> Array:
    """The instructions as replies of this kind that are computed from the points they name."""
    replies = blocks.copy()
    replies["kind"] = kind
    return replies


def order(blocks: Array) -> Array:
    """(n,) int64 that grow with term and sequence number: a later instruction has the larger one."""
    later: Array = (blocks["term"].astype(np.int64) << 32) | blocks["seq"]
    return later


def blank(kind: Kind, clients: Array, experiment: bytes, source: bytes) -> Array:
    """(n,) blocks of a kind for these clients; the other fields are zero."""
    blocks = np.zeros(len(clients), dtype=LAYOUT)
    blocks["magic"], blocks["kind"], blocks["client"] = _MAGIC, kind, clients
    blocks["experiment"], blocks["source"] = words(experiment), words(source)
    return blocks


class Points:
    """A point of each of n rows.

    Attributes:
      version: (n,) int64, -1 where there is none.
      chain: (n, 2) uint64.
    """

    def __init__(self, version: Array, chain: Array) -> None:
        self.version, self.chain = version, chain

    @classmethod
    def origin(cls, experiment: bytes, clients: range) -> Points:
        """Before the first increment."""
        chain = b"".join([Point.origin(experiment, i).chain for i in clients])
        return cls(np.zeros(len(clients), np.int64), np.frombuffer(chain, "<u8").reshape(-1, 2).copy())

    @classmethod
    def none(cls, n: int) -> Points:
        """No point anywhere."""
        return cls(np.full(n, -1, np.int64), np.zeros((n, 2), np.uint64))

    def __getitem__(self, row: int) -> Point:
        return Point(int(self.version[row]), self.chain[row].tobytes())

    def equal(self, rows: Array, version: Array, chain: Array) -> Array:
        """(m,) whether these rows are at these points."""
        equal: Array = (self.version[rows] == version) & same(self.chain[rows], chain)
        return equal

    def put(self, rows: Array, version: Array, chain: Array) -> None:
        """Set these rows' points."""
        self.version[rows], self.chain[rows] = version, chain

    def then(self, rows: Array, payloads: Sequence[bytes]) -> tuple[Array, Array]:
        """The points of these rows after one more increment each: versions (m,) and chains (m, 2)."""
        now, blank, chain = self.chain[rows].tobytes(), blake2b(digest_size=HASH).copy, list[bytes]()
        for at, payload in enumerate(payloads):
            hash = blank()  # a copy costs less than a new one
            hash.update(now[at * HASH : (at + 1) * HASH] + payload)
            chain.append(hash.digest())
        return self.version[rows] + 1, np.frombuffer(b"".join(chain), "<u8").reshape(-1, 2)
