"""Supports as bytes: nothing, a key, or indices by whichever of two codes is the smaller.

Elias-Fano (Elias. Efficient storage and retrieval by content and address of static files. J. ACM 1974;
Fano 1971): the low l bits of every index as they are, and of the others, h_0 <= h_1 <= ..., a bitmap
with a one at each h_j + j. Its size depends on (dim, count) alone, and so does the choice of code.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.messages import All, Indices, Seeded, Support
from fl_ef21.wire import bits
from fl_ef21.wire.bits import Array

Kind = type[All] | type[Indices] | type[Seeded]

ALL, ELIAS_FANO, BITMAP, SEEDED = range(4)
CODES: dict[Kind, tuple[int, ...]] = {All: (ALL,), Indices: (ELIAS_FANO, BITMAP), Seeded: (SEEDED,)}
_KEY = 8


def kind_of(support: Support) -> Kind:
    """Which support this is. Raises: TypeError where the format has no code for it."""
    match support:
        case All() | Indices() | Seeded():
            return type(support)
    raise TypeError(f"the wire format has no code for {type(support).__name__}")


def _low(dim: int, count: int) -> int:
    """l = floor(log2(dim / count)), 1 <= count <= dim."""
    return (dim // count).bit_length() - 1


def _high(dim: int, count: int) -> int:
    """Bits of the bitmap over the high parts."""
    return count + ((dim - 1) >> _low(dim, count))


def _elias_fano(dim: int, count: int) -> int:
    if count == 0:
        return 0
    return bits.nbytes(count, _low(dim, count)) + bits.nbytes(_high(dim, count), 1)


def code(kind: Kind, dim: int, count: int) -> int:
    """The code for `count` of `dim` coordinates; among equal sizes Elias-Fano."""
    if kind is Indices:
        return ELIAS_FANO if _elias_fano(dim, count) <= bits.nbytes(dim, 1) else BITMAP
    return CODES[kind][0]


def nbytes(kind: Kind, dim: int, count: int) -> int:
    """Bytes that the support of `count` of `dim` coordinates takes."""
    if kind is Indices:
        return min(_elias_fano(dim, count), bits.nbytes(dim, 1))
    return _KEY if kind is Seeded else 0


def pack(index: Array, dim: int) -> Array:
    """(m, nbytes) uint8 from the indices (m, k) int64, increasing along each row."""
    m, k = index.shape
    if code(Indices, dim, k) == BITMAP:
        return _marked(index, dim)
    if k == 0:
        return np.empty((m, 0), dtype=np.uint8)
    low = _low(dim, k)
    rest = (index & ((1 << low) - 1)).astype("<u4")
    return np.hstack([bits.pack(rest, low), _marked((index >> low) + np.arange(k), _high(dim, k))])


def _marked(at: Array, size: int) -> Array:
    bitmap = np.zeros((len(at), size), dtype=bool)
    bitmap[np.arange(len(at))[:, None], at] = True
    return bits.pack(bitmap, 1)


def unpack(body: Array, k: int, dim: int) -> tuple[Array, Array]:
    """The indices (m, k) int64 in (m, nbytes) uint8, and (m,) whether those of a row can be used."""
    if code(Indices, dim, k) == BITMAP:
        return bits.ones(body, k, dim)
    if k == 0:
        return np.empty((len(body), 0), dtype=np.int64), np.ones(len(body), dtype=bool)
    low = _low(dim, k)
    cut = bits.nbytes(k, low)
    rest, clean = bits.unpack(body[:, :cut], k, low, "<u4")
    at, sound = bits.ones(body[:, cut:], k, _high(dim, k))
    index = ((at - np.arange(k)) << low) | rest
    increasing = (index[:, 1:] > index[:, :-1]).all(axis=1)
    return index, clean & sound & increasing & (index[:, -1] < dim)


def pack_keys(keys: Array) -> Array:
    """(m, 8) uint8 from (m,) int64."""
    return np.ascontiguousarray(keys.astype("<i8")).view(np.uint8).reshape(-1, _KEY)


def unpack_keys(body: Array) -> Array:
    """(m,) int64 from (m, 8) uint8."""
    return body.copy().view("<i8").reshape(-1)
