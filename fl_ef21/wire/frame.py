"""The frame around a payload, and every check that needs no more than it: what, how much, how long, whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import google_crc32c
import numpy as np

from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Indices, Seeded
from fl_ef21.wire import supports
from fl_ef21.wire.bits import Array
from fl_ef21.wire.supports import Kind
from fl_ef21.wire.values import Form, LevelForm, form_of

MAGIC, VERSION = b"EF", 1
HEAD = np.dtype([("magic", "S2"), ("version", "u1"), ("kind", "u1"), ("flags", "u1"), ("dim", "<u4"), ("count", "<u4")])
CRC = 4


@dataclass(frozen=True)
class Spec:
    """The messages a receiver expects.

    Attributes:
      dim: d, in 1 .. 2^32 - 1.
      most: the most entries a client may send; with a subset or every coordinate, exactly as many.
      counts: with a subset, how many entries it may be where clients differ; else empty.
      support: Indices, Seeded or All.
      form: which values, of which dtype and parameters.

    Raises: ValueError where dim or most is out of range, and where levels have buckets but the clients
      may send different numbers of them.
    """

    dim: int
    most: int
    support: Kind
    form: Form
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.dim < 1 << 32:
            raise ValueError(f"dim must lie in 1 .. 2^32 - 1, got {self.dim}")
        if not 0 <= self.most <= self.dim:
            raise ValueError(f"most must lie in 0 .. {self.dim}, got {self.most}")
        if isinstance(self.form, LevelForm) and self.form.bucket and self.support is Indices:
            raise ValueError("levels in buckets need a support that fixes how many there are")

    @classmethod
    def of(cls, c: Compressed) -> Spec:
        """What `c` is an example of; `most` is its largest count."""
        most = c.dim if isinstance(c.support, All) else int(c.counts.max()) if len(c) else 0
        return cls(c.dim, most, supports.kind_of(c.support), form_of(c.values))

    @classmethod
    def of_any(cls, examples: Sequence[Compressed]) -> Spec:
        """Where clients differ: messages of any of these sizes, of one kind."""
        specs = sorted((cls.of(c) for c in examples), key=lambda spec: spec.most)
        counts = tuple(sorted({spec.most for spec in specs}))
        return replace(specs[-1], counts=counts if specs[-1].support is Seeded and len(counts) > 1 else ())

    def kind(self, count: int) -> int:
        """The kind byte of a message of so many entries."""
        return supports.code(self.support, self.dim, count) << 4 | self.form.code

    def nbytes(self, count: int) -> int:
        """Bytes of a message of so many entries, the frame included."""
        values = len(self.form.parameters) + sum(c.nbytes(count) for c in self.form.columns)
        return HEAD.itemsize + supports.nbytes(self.support, self.dim, count) + values + CRC


def heads(spec: Spec, count: int, m: int) -> Array:
    """(m, 13) uint8: what m messages of so many entries begin with."""
    head = np.array([(MAGIC, VERSION, spec.kind(count), 0, spec.dim, count)], dtype=HEAD)
    return np.broadcast_to(head.view(np.uint8), (m, HEAD.itemsize))


def sealed(body: bytes) -> bytes:
    """`body` and its CRC32C."""
    return body + int(google_crc32c.value(body)).to_bytes(CRC, "little")


def _whole(payload: bytes) -> bool:
    crc: int = google_crc32c.value(payload[:-CRC])
    return payload[-CRC:] == crc.to_bytes(CRC, "little")


def each(formula: Callable[[int], int], counts: Array) -> Array:
    """formula(count) for every one of `counts` (n,), evaluated once for each that occurs."""
    distinct, where = np.unique(counts, return_inverse=True)
    return np.array([formula(int(k)) for k in distinct], dtype=np.int64)[where]


def screen(payloads: Sequence[bytes], spec: Spec) -> tuple[Array, dict[int, Refused]]:
    """The counts (n,) int64 that the frames state, and what is wrong with the frames of which rows.

    A refused row's count is 0. A row that is not refused has the length its count asks for.
    """
    size = HEAD.itemsize
    lengths = np.array([len(p) for p in payloads], dtype=np.int64)
    short = lengths < size + CRC
    head = np.frombuffer(b"".join([p[:size].ljust(size, b"\0") for p in payloads]), dtype=HEAD)
    allowed = [code << 4 | spec.form.code for code in supports.CODES[spec.support]]
    count = head["count"].astype(np.int64)
    beyond = count > spec.most if spec.support is Indices else ~np.isin(count, spec.counts or (spec.most,))
    usable = np.where(beyond, spec.most, count)

    refused: dict[int, Refused] = {}
    for reason, found, wrong in (
        ("short", lengths, short),
        ("magic", head["magic"], head["magic"] != MAGIC),
        ("version", head["version"], head["version"] != VERSION),
        ("kind", head["kind"], ~np.isin(head["kind"], allowed)),
        ("flags", head["flags"], head["flags"] != 0),
        ("dim", head["dim"], head["dim"] != spec.dim),
        ("count", count, beyond),
        ("kind", head["kind"], head["kind"] != each(spec.kind, usable)),
        ("length", lengths, lengths != each(spec.nbytes, usable)),
    ):
        for row in np.flatnonzero(wrong).tolist():
            refused.setdefault(row, Refused(reason, f"found {found[row]!s}"))
    for row, payload in enumerate(payloads):
        if row not in refused and not _whole(payload):
            refused[row] = Refused("crc")
    counts = np.where(np.isin(np.arange(len(payloads)), list(refused)), 0, count)
    return counts, refused
