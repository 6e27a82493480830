"""Messages as bytes, one payload per client, and back. The format is docs/wire-format.md.

A round is packed and unpacked at once: NumPy handles all clients with equally many entries together.
The sizes are formulas, so `nbytes` needs no encoding. A decoder trusts nothing, and a payload it
refuses changes nothing about the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Indices, Seeded
from fl_ef21.wire import frame, supports
from fl_ef21.wire.bits import Array
from fl_ef21.wire.columns import Rectangle, rectangles
from fl_ef21.wire.frame import Spec

__all__ = ["Spec", "check", "decode", "encode", "nbytes"]


def nbytes(c: Compressed) -> list[int]:
    """The length of each client's payload, by formula."""
    sizes: list[int] = frame.each(Spec.of(c).nbytes, c.counts.cpu().numpy()).tolist()
    return sizes


def encode(c: Compressed) -> list[bytes]:
    """One payload per client. Raises: TypeError where the format has no code for the values."""
    spec, counts = Spec.of(c), c.counts.cpu().numpy()
    columns, known = spec.form.split(c.values), np.frombuffer(spec.form.parameters, dtype=np.uint8)
    payloads = [b""] * len(c)
    for r in rectangles(counts, np.arange(len(c))):
        m = len(r.rows)
        parts = [frame.heads(spec, r.count, m), _write_support(c, r)]
        parts.append(np.broadcast_to(known, (m, len(known))))
        for column, numbers in zip(spec.form.columns, columns, strict=True):
            parts.append(column.write(column.take(numbers, r)))
        for row, body in zip(r.rows.tolist(), np.hstack(parts), strict=True):
            payloads[row] = frame.sealed(body.tobytes())
    return payloads


def _write_support(c: Compressed, r: Rectangle) -> Array:
    match c.support:
        case Indices(flat):
            return supports.pack(r.take(flat.cpu().numpy()), c.dim)
        case Seeded(keys):
            return supports.pack_keys(keys.cpu().numpy()[r.rows])
    return np.empty((len(r.rows), 0), dtype=np.uint8)


def decode(payloads: Sequence[bytes], spec: Spec) -> tuple[Compressed, dict[int, Refused]]:
    """The messages in a round's payloads, and the rows that are refused with the reason of each.

    Rows keep their numbers. A refused row is zero: it has no entries where clients may send different numbers
    of them, and entries that are zero where there is but one number.
    """
    counts, refused = frame.screen(payloads, spec)
    c, bad = _unpack(payloads, counts, refused, spec)
    if bad:
        refused = refused | bad
        counts[list(bad)] = 0
        c, _ = _unpack(payloads, counts, refused, spec)
    return c, dict(sorted(refused.items()))


def check(payload: bytes, spec: Spec) -> None:
    """Raises: Refused where `decode` would refuse this payload."""
    _, refused = decode([payload], spec)
    if refused:
        raise refused[0]


def _unpack(
    payloads: Sequence[bytes], counts: Array, refused: dict[int, Refused], spec: Spec
) -> tuple[Compressed, dict[int, Refused]]:
    """The messages of the rows not yet refused, and those of them whose body is wrong.

    Their frames have been found right, so the sizes of what is allocated here follow from what was
    received or from `spec`.
    """
    n, sparse = len(payloads), spec.support is Indices
    if not sparse and not spec.counts:
        counts = np.full(n, spec.most, dtype=np.int64)
    entries = int(counts.sum())
    where = np.zeros(entries if sparse else n, dtype=np.int64)
    columns = [column.blanks(n, entries) for column in spec.form.columns]
    bad: dict[int, Refused] = {}
    rows = np.setdiff1d(np.arange(n), np.array(list(refused), dtype=np.int64))
    for r in rectangles(counts, rows):
        chosen, parts, wrong = _read(payloads, r, spec)
        if sparse:
            r.put(where, chosen)
        elif spec.support is Seeded:
            where[r.rows] = chosen
        for column, numbers, part in zip(spec.form.columns, columns, parts, strict=True):
            column.put(numbers, r, part)
        for reason, which in wrong.items():
            for row in r.rows[which].tolist():
                bad.setdefault(row, Refused(reason))
    at = torch.from_numpy(where)
    support = Indices(at) if sparse else Seeded(at) if spec.support is Seeded else All()
    return Compressed(spec.dim, torch.from_numpy(counts), support, spec.form.join(columns)), bad


def _read(payloads: Sequence[bytes], r: Rectangle, spec: Spec) -> tuple[Array, list[Array], dict[str, Array]]:
    """These clients' indices (m, count) or keys (m,), their columns, and (m,) who is wrong for which reason.

    The rows of wrong clients may hold anything.
    """
    support, parameters, *parts = _cut(payloads, r, spec)
    sound = np.ones(len(r.rows), dtype=bool)
    if spec.support is Indices:
        support, sound = supports.unpack(support, r.count, spec.dim)
    elif spec.support is Seeded:
        support = supports.unpack_keys(support)
    read = [column.read(part, r.count) for column, part in zip(spec.form.columns, parts, strict=True)]
    columns = [numbers for numbers, _ in read]
    padded = np.any([~clean for _, clean in read], axis=0)
    known = np.frombuffer(spec.form.parameters, dtype=np.uint8)
    return (
        support,
        columns,
        {
            "indices": ~sound,
            "parameter": (parameters != known).any(axis=1),
            "values": padded | spec.form.faults(columns),
        },
    )


def _cut(payloads: Sequence[bytes], r: Rectangle, spec: Spec) -> list[Array]:
    """These payloads by section, (m, nbytes) uint8 each: support, parameters, and one for each column."""
    form = spec.form
    sizes = [frame.HEAD.itemsize, supports.nbytes(spec.support, spec.dim, r.count), len(form.parameters)]
    sizes += [column.nbytes(r.count) for column in form.columns]
    octets = np.frombuffer(b"".join([payloads[row] for row in r.rows.tolist()]), dtype=np.uint8)
    return np.split(octets.reshape(len(r.rows), -1), np.cumsum(sizes), axis=1)[1:-1]
