"""Whole payloads: what stands where between the head and the checksum, for all clients of a round in one call.

    head | parameters | plain numbers | (length) numbers | support

`plain` are a client's bytes that are sent as they are, `x` its numbers; what they mean is known to
`fl_ef21.wire.values`. The support takes what is left.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire import bits, gaps, golomb, numbers
from fl_ef21.wire.bits import SLACK, Array
from fl_ef21.wire.classes import LOG_STATES, MOST
from fl_ef21.wire.layers import compact, expand, read_maps
from fl_ef21.wire.layers import room as maps_room

HEAD, CODES, COUNT = 13, 4, 9  # bytes of the head, and where in it the codes and the count stand
ALL, INDICES, SEEDED = range(3)
KEY = 8
_BLOCK = 512
FINE, LENGTH, SUPPORT, PARAMETER, VALUES = range(5)  # what is found of a payload
REASONS = {LENGTH: "length", SUPPORT: "indices", PARAMETER: "parameter", VALUES: "values"}


def _layers_from(layers: Array) -> int:
    """Entries from which leaving out rows and columns is tried: the maps of fewer cost more than they save."""
    return 64 if len(layers) else np.int64(1) << 62


layers_from = compiled(_layers_from)


def _layered_scratch(layers: Array, count: int, dim: int) -> tuple[Array, Array, Array]:
    """For `compact`: places, one layer's rows and columns, and room for the section; empty without layers."""
    if not len(layers):
        return np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint8)
    widest = np.int64(0)
    for l in range(len(layers)):
        widest = max(widest, layers[l, 0] + layers[l, 1])
    size = maps_room(layers) + gaps.room(dim, count)
    return np.empty(count, np.int64), np.empty(widest, np.uint8), np.empty(size, np.uint8)


layered_scratch = compiled(_layered_scratch)


def _pack(
    head: Array, known: Array, plain: Array, plains: Array, x: Array, xs: Array, width: int, support: int,
    index: Array, keys: Array, counts: Array, dim: int, layers: Array, out: Array, ends: Array,
) -> None:  # fmt: skip
    """Writes the payloads without their checksums one after another into `out`; they end at `ends` (n,).

    head (HEAD,) but for codes and counts, known (p,) parameters; plain flat uint8 and x flat uint32, with plains and xs
    (n,) of each client; index flat int64, counts (n,) of each client; keys (n, KEY) uint8. layers (m, 2), or none.
    """
    most = 0
    for i in range(counts.size):
        most = max(most, max(counts[i], xs[i]))
    s, gap, held = np.empty(most, np.uint16), np.empty(most, np.uint32), np.empty(MOST, np.int64)
    scratch = np.empty(max(numbers.room(most), gaps.room(dim, most)), np.uint8)
    left, live, maps = layered_scratch(layers, most, dim)
    at = first_plain = first_x = first_index = 0
    for i in range(counts.size):
        begin, k = at, counts[i]
        out[at : at + HEAD] = head
        for byte in range(4):
            out[at + COUNT + byte] = k >> 8 * byte & 255
        at += HEAD
        out[at : at + known.size] = known
        at += known.size
        out[at : at + plains[i]] = plain[first_plain : first_plain + plains[i]]
        at, first_plain = at + plains[i], first_plain + plains[i]
        size, values = numbers.write(x[first_x : first_x + xs[i]], width, s, held, scratch, 0)
        first_x += xs[i]
        if values != numbers.RAW:
            at = numbers.put_varint(out, at, size)
        out[at : at + size] = scratch[:size]
        at, code = at + size, 0
        if support == INDICES:
            size, code = gaps.write(index[first_index : first_index + k], dim, gap[:k], s, held, scratch, 0)
            body = scratch
            if k >= layers_from(layers):
                begins, kept = compact(index[first_index : first_index + k], layers, live, left, maps, 0)
                shorter, how = gaps.write(left[:k], kept, gap[:k], s, held, maps, begins)
                if shorter < size:
                    size, code, body = shorter, how + gaps.LAYERED, maps
            out[at : at + size] = body[:size]
            at, first_index = at + size, first_index + k
        elif support == SEEDED:
            out[at : at + KEY] = keys[i]
            at += KEY
        out[begin + CODES] = code | values << 4
        ends[i] = at


pack = compiled(_pack)


def _parts(
    data: Array, at: int, stop: int, known: int, plain: int, x: int, width: int, support: int
) -> tuple[int, int, int]:
    """Where the plain bytes, the numbers and the support of the payload at .. stop - 1 begin; -1 where they cannot."""
    body = at + HEAD + known + plain
    if stop < body:
        return -1, -1, -1
    if data[at + CODES] >> 4 == numbers.RAW:
        size, begin = (x * width + 7) // 8, body
    else:
        size, begin = numbers.get_varint(data, body, stop)
    rest = stop - begin - size
    if begin < 0 or rest < 0 or (support != INDICES and rest != (KEY if support == SEEDED else 0)):
        return -1, -1, -1
    return at + HEAD + known, begin, begin + size


parts = compiled(_parts)


def _admit(
    data: Array, first: Array, stops: Array, skip: Array, known: int, plains: Array, xs: Array, width: int,
    support: int, counts: Array, dim: int, layers: Array, found: Array,
) -> None:  # fmt: skip
    """Whether the payloads may be as long as they say: found (n,) LENGTH where they may not. Nothing is allocated."""
    kept, which = np.empty((len(layers), 2), np.int64), np.empty(layers.sum(), np.int64)
    for i in range(counts.size):
        if skip[i]:
            continue
        code, values = np.int64(data[first[i] + CODES]) & 15, np.int64(data[first[i] + CODES]) >> 4
        _, begin, end = parts(data, first[i], stops[i], known, plains[i], xs[i], width, support)
        fine = begin >= 0
        if fine and values != numbers.RAW:
            fine = xs[i] > 0 and numbers.fits(data, begin, end, xs[i], values, 1)
        if fine and support == INDICES:
            size = dim
            if code > gaps.LAYERED:
                end, size = read_maps(data, end, stops[i], layers, kept, which)
                code -= gaps.LAYERED
            if end < 0 or counts[i] > size:
                fine = False
            elif code == gaps.BITMAP:
                fine = stops[i] - end == (size + 7) // 8
            elif counts[i] == 0:
                fine = code == gaps.GOLOMB and stops[i] == end
            else:
                fine = numbers.fits(data, end, stops[i], counts[i], code, 0)
        found[i] = FINE if fine else LENGTH


admit = compiled(_admit)


def _unpack_one(
    data: Array, at: int, stop: int, known: Array, plain: Array, x: Array, width: int, support: int, index: Array,
    key: Array, dim: int, layers: Array, kept: Array, which: Array, table: Array, gap: Array,
) -> int:  # fmt: skip
    """Reads the payload at .. stop - 1 (its checksum left out) into plain, x, and index (k,) or key; what is found."""
    code, values = np.int64(data[at + CODES]) & 15, np.int64(data[at + CODES]) >> 4
    body, begin, end = parts(data, at, stop, known.size, plain.size, x.size, width, support)
    if begin < 0:
        return LENGTH
    if support == INDICES:
        rest, size = end, dim
        if code > gaps.LAYERED:
            rest, size = read_maps(data, end, stop, layers, kept, which)
        if not gaps.read(data, rest, stop, code % gaps.LAYERED, size, table, gap, index):
            return SUPPORT
        if code > gaps.LAYERED:
            expand(index, layers, kept, which)
    if support == SEEDED:
        key[:] = data[end:stop]
    for byte in range(known.size):
        if data[at + HEAD + byte] != known[byte]:
            return PARAMETER
    plain[:] = data[body : body + plain.size]
    return FINE if numbers.read(data, begin, end, values, width, table, x) else VALUES


unpack_one = compiled(_unpack_one)


def _unpack(
    data: Array, first: Array, stops: Array, skip: Array, known: Array, plain: Array, plains: Array, x: Array,
    xs: Array, width: int, support: int, index: Array, keys: Array, counts: Array, dim: int, layers: Array,
    found: Array,
) -> None:  # fmt: skip
    """Reads the payloads first[i] .. stops[i] - 1 that are not to be skipped; arrays as for `pack`, and found (n,).

    They must have been admitted. Where something is wrong the arrays may hold anything.
    """
    most = 0
    for i in range(counts.size):
        most = max(most, counts[i])
    table, gap = np.empty(1 << LOG_STATES, np.uint64), np.empty(most, np.uint32)
    kept, which = np.empty((len(layers), 2), np.int64), np.empty(layers.sum(), np.int64)
    first_plain = first_x = first_index = 0
    for i in range(counts.size):
        k = counts[i] if support == INDICES else 0
        if not skip[i]:
            found[i] = unpack_one(
                data, first[i], stops[i], known, plain[first_plain : first_plain + plains[i]],
                x[first_x : first_x + xs[i]], width, support, index[first_index : first_index + k], keys[i], dim,
                layers, kept, which, table, gap[:k],
            )  # fmt: skip
        first_plain, first_x, first_index = first_plain + plains[i], first_x + xs[i], first_index + k


unpack = compiled(_unpack)


def _add(
    data: Array, first: Array, stops: Array, skip: Array, known: Array, xs: Array, width: int, limit: int, shift: int,
    counts: Array, dim: int, layers: Array, weights: Array, total: Array, squares: Array, found: Array,
) -> None:  # fmt: skip
    """Adds weights[i] times the floats of each payload that is not to be skipped to total (dim,) float64, in order.

    squares (n,): |c_i|^2, 0 of what is not added. For indices and floats that are the upper `32 - shift` bits of a
    float32; numbers from `limit` on are not finite.
    """
    most = 0
    for i in range(counts.size):
        most = max(most, counts[i])
    table, gap, index = np.empty(1 << LOG_STATES, np.uint64), np.empty(most, np.uint32), np.empty(most, np.int64)
    x, nothing, word = np.empty(most, np.uint32), np.empty(0, np.uint8), np.empty(_BLOCK, np.uint32)
    real, top = word.view(np.float32), width - 1
    kept, which = np.empty((len(layers), 2), np.int64), np.empty(layers.sum(), np.int64)
    for i in range(counts.size):
        if skip[i]:
            continue
        k = counts[i]
        found[i] = unpack_one(
            data,
            first[i],
            stops[i],
            known,
            nothing,
            x[:k],
            width,
            INDICES,
            index[:k],
            nothing,
            dim,
            layers,
            kept,
            which,
            table,
            gap[:k],
        )
        largest = np.uint32(0)
        for j in range(k):
            largest = max(largest, x[j])
        if found[i] == FINE and largest >= limit:
            found[i] = VALUES
        if found[i] != FINE:
            continue
        square = 0.0
        for begin in range(0, k, _BLOCK):
            n = min(_BLOCK, k - begin)
            for j in range(n):
                word[j] = (x[begin + j] >> 1 | (x[begin + j] & 1) << top) << shift
            for j in range(n):
                total[index[begin + j]] += np.float64(real[j]) * weights[i]
                square += np.float64(real[j]) * np.float64(real[j])
        squares[i] = square


add = compiled(_add)


def room(counts: Array, xs: Array, width: int, plains: int, known: int, support: int, dim: int) -> int:
    """Bytes within which `pack` can write."""
    fixed = len(counts) * (HEAD + known + 5 + KEY) + plains + int((xs * width + 7).sum()) // 8 + len(xs)
    if support != INDICES or not len(counts):
        return fixed + SLACK
    distinct, times = np.unique(counts, return_counts=True)
    return fixed + SLACK + sum(bound(dim, int(k)) * int(n) for k, n in zip(distinct, times, strict=True))


def bound(dim: int, count: int) -> int:
    """Bytes within which the support of `count` of dim coordinates fits: its Golomb code."""
    m: int = golomb.divisor(dim, max(1, count))
    return bits.nbytes(1, count * (1 + golomb.width(m)) + dim // m)
