"""The frame around a payload, and every check that needs no more than it: what, how much, whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import google_crc32c
import numpy as np

from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Indices, Seeded, Support
from fl_ef21.wire import gaps, numbers, payload
from fl_ef21.wire.bits import Array
from fl_ef21.wire.forms import Form
from fl_ef21.wire.values import form_of

MAGIC, VERSION = b"EF", 1
HEAD = np.dtype([("magic", "S2"), ("version", "u1"), ("kind", "u1"), ("codes", "u1"), ("dim", "<u4"), ("count", "<u4")])
CRC = 4
SEALED = 0x48674BC7  # the checksum of whatever has its own checksum at the end
Layers = tuple[tuple[int, int], ...]
Kind = type[All] | type[Indices] | type[Seeded]
_SUPPORTS: dict[Kind, int] = {All: payload.ALL, Indices: payload.INDICES, Seeded: payload.SEEDED}


@dataclass(frozen=True)
class Spec:
    """The messages a receiver expects.

    Attributes:
      dim: d, in 1 .. 2^32 - 1.
      most: the most entries a client may send; with a subset or every coordinate, exactly as many.
      counts: with a subset, how many entries it may be where clients differ; else empty.
      support: Indices, Seeded or All.
      form: which values, of which dtype and parameters.
      layers: rows and columns of the matrices that lie one after another in the vector, where a message may leave out
        empty ones; together d. Else empty.

    Raises: ValueError where dim or most is out of range.
    """

    dim: int
    most: int
    support: Kind
    form: Form
    counts: tuple[int, ...] = ()
    layers: Layers = ()

    def __post_init__(self) -> None:
        if not 1 <= self.dim < 1 << 32:
            raise ValueError(f"dim must lie in 1 .. 2^32 - 1, got {self.dim}")
        if not 0 <= self.most <= self.dim:
            raise ValueError(f"most must lie in 0 .. {self.dim}, got {self.most}")
        if self.layers and (size := sum(rows * columns for rows, columns in self.layers)) != self.dim:
            raise ValueError(f"layers must have {self.dim} entries in all, got {size}")

    @classmethod
    def of(cls, c: Compressed) -> Spec:
        """What `c` is an example of; `most` is its largest count."""
        most = c.dim if isinstance(c.support, All) else int(c.counts.max()) if len(c) else 0
        return cls(c.dim, most, kind_of(c.support), form_of(c.values))

    @classmethod
    def of_any(cls, examples: Sequence[Compressed]) -> Spec:
        """Where clients differ: messages of any of these sizes, of one kind."""
        specs = sorted((cls.of(c) for c in examples), key=lambda spec: spec.most)
        counts = tuple(sorted({spec.most for spec in specs}))
        return replace(specs[-1], counts=counts if specs[-1].support is Seeded and len(counts) > 1 else ())

    @property
    def code(self) -> int:
        """Of the support: the high nibble of the kind byte."""
        return _SUPPORTS[self.support]

    @property
    def codes(self) -> Array:
        """What the byte of codes may be: how the support is written, and how the values are, in its high nibble."""
        supports = [gaps.GOLOMB, gaps.CLASSES, gaps.BITMAP] if self.support is Indices else [0]
        supports += [gaps.LAYERED + code for code in supports] if self.layers else []
        return np.array([s | v << 4 for s in supports for v in (numbers.RAW, numbers.GOLOMB, numbers.CLASSES)])

    def matrices(self) -> Array:
        """(m, 2) int64: the layers."""
        return np.array(self.layers, dtype=np.int64).reshape(-1, 2)

    def head(self) -> Array:
        """(13,) uint8: what a message begins with, but for codes and count."""
        head = np.array([(MAGIC, VERSION, self.code << 4 | self.form.code, 0, self.dim, 0)], dtype=HEAD)
        return head.view(np.uint8)


def layers_of(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> Layers:
    """Parameter tensors as matrices: the first dimension by all others; what has one dimension is one row."""
    return tuple((s[0], prod(s[1:])) if len(s) > 1 else (1, prod(s)) for _, s in shapes)


def kind_of(support: Support) -> Kind:
    """Which support this is. Raises: TypeError where the format has no code for it."""
    match support:
        case All() | Indices() | Seeded():
            return type(support)
    raise TypeError(f"the wire format has no code for {type(support).__name__}")


def sealed(body: bytes) -> bytes:
    """`body` and its CRC32C."""
    return body + int(google_crc32c.value(body)).to_bytes(CRC, "little")


def stated_counts(payloads: Sequence[bytes]) -> Array:
    """(n,) int64: the counts that the heads state, 0 of what has no head. Nothing is checked."""
    size = HEAD.itemsize
    heads = np.frombuffer(b"".join([p[:size] if len(p) >= size else bytes(size) for p in payloads]), dtype=HEAD)
    return heads["count"].astype(np.int64)


def screen(payloads: Sequence[bytes], spec: Spec) -> tuple[Array, dict[int, Refused]]:
    """The counts (n,) int64 that the frames state, and what is wrong with the frames of which rows.

    A refused row's count is 0.
    """
    size = HEAD.itemsize
    lengths = np.array([len(p) for p in payloads], dtype=np.int64)
    heads = [p[:size] for p in payloads] if (lengths >= size).all() else [p[:size].ljust(size, b"\0") for p in payloads]
    head = np.frombuffer(b"".join(heads), dtype=HEAD)
    count = head["count"].astype(np.int64)
    beyond = count > spec.most if spec.support is Indices else ~np.isin(count, spec.counts or (spec.most,))
    refused: dict[int, Refused] = {}
    for reason, found, wrong in (
        ("short", lengths, lengths < size + CRC),
        ("magic", head["magic"], head["magic"] != MAGIC),
        ("version", head["version"], head["version"] != VERSION),
        ("kind", head["kind"], head["kind"] != (spec.code << 4 | spec.form.code)),
        ("codes", head["codes"], ~np.isin(head["codes"], spec.codes)),
        ("dim", head["dim"], head["dim"] != spec.dim),
        ("count", count, beyond),
    ):
        if wrong.any():
            for row in np.flatnonzero(wrong).tolist():
                refused.setdefault(row, Refused(reason, f"found {found[row]!s}"))
    seal = google_crc32c.value
    for row in [row for row, one in enumerate(payloads) if seal(one) != SEALED]:
        refused.setdefault(row, Refused("crc"))
    count[list(refused)] = 0
    return count, refused
