"""Indices of a model whose empty rows and columns are left out before gaps are taken.

A parameter tensor is a matrix of its first dimension by all others. Where an input is dead or a unit never active,
whole columns and rows of it have no entries. The section begins with a bit string: for each layer a bit that says
whether rows and columns are left out, and if so the map of rows and the map of columns. A map of n is a bit 0 and n
bits, or a bit 1, the first bit, and the lengths of its runs, alternately zeros and ones, in Elias' gamma code.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire.bits import SLACK, Array, end, load64, put


def _log2(n: int) -> int:
    """floor(log2 n), n >= 1."""
    width = 0
    while n >> (width + 1):
        width += 1
    return width


log2 = compiled(_log2)


def _runs(live: Array) -> int:
    """Bits of a map as runs, without its first bit."""
    bits, begin = 1, 0
    for i in range(1, live.size + 1):
        if i == live.size or live[i] != live[begin]:
            bits += 2 * log2(i - begin) + 1
            begin = i
    return bits


runs = compiled(_runs)


def _put_map(live: Array, out: Array, at: int, acc: int, held: int) -> tuple[int, int, int]:
    shorter = runs(live) < live.size
    at, acc, held = put(out, at, acc, held, shorter, 1)
    if not shorter:
        for i in range(live.size):
            at, acc, held = put(out, at, acc, held, live[i], 1)
        return at, acc, held
    at, acc, held = put(out, at, acc, held, live[0], 1)
    begin = 0
    for i in range(1, live.size + 1):
        if i == live.size or live[i] != live[begin]:
            width = log2(i - begin)
            at, acc, held = put(out, at, acc, held, 1 << width, width + 1)
            at, acc, held = put(out, at, acc, held, (i - begin) & ((1 << width) - 1), width)
            begin = i
    return at, acc, held


put_map = compiled(_put_map)


def _compact(index: Array, layers: Array, live: Array, left: Array, out: Array, at: int) -> tuple[int, int]:
    """Writes the maps for these indices from byte `at`, and into `left` (k,) their places among what is kept: where the
    maps end, and how many coordinates are kept.

    layers (m, 2): rows and columns; live (at least rows + columns of any layer,) uint8 is scratch.
    """
    acc, held, begin, first, kept = np.uint64(0), 0, 0, np.int64(0), np.int64(0)
    for l in range(len(layers)):
        rows, columns = layers[l, 0], layers[l, 1]
        stop = begin
        live[: rows + columns] = 0
        row, row_first = -1, first - columns
        while stop < index.size and index[stop] < first + rows * columns:
            while index[stop] >= row_first + columns:
                row, row_first = row + 1, row_first + columns
            live[row] = 1
            live[rows + index[stop] - row_first] = 1
            stop += 1
        r = c = np.int64(0)
        for i in range(rows):
            r += live[i]
        for i in range(columns):
            c += live[rows + i]
        maps = min(rows, runs(live[:rows])) + min(columns, runs(live[rows : rows + columns])) + 2
        saved = (stop - begin) * np.log2(rows * columns / (r * c)) if r else np.float64(rows * columns)
        drop = rows > 1 and columns > 1 and saved > maps
        at, acc, held = put(out, at, acc, held, drop, 1)
        if not drop:
            for i in range(begin, stop):
                left[i] = kept + index[i] - first
            kept += rows * columns
        else:
            at, acc, held = put_map(live[:rows], out, at, acc, held)
            at, acc, held = put_map(live[rows : rows + columns], out, at, acc, held)
            rank(index, begin, stop, first, columns, live, rows, c, kept, left)
            kept += r * c
        begin, first = stop, first + rows * columns
    return end(out, at, acc, held), kept


def _rank(
    index: Array, begin: int, stop: int, first: int, columns: int, live: Array, rows: int, wide: int, kept: int,
    left: Array,
) -> None:  # fmt: skip
    """The places of a layer's indices among its `wide` columns and its rows that are kept."""
    before = np.empty(columns, np.int64)
    n = np.int64(0)
    for i in range(columns):
        before[i] = n
        n += live[rows + i]
    row, row_first, above = -1, first - columns, np.int64(-1)
    for i in range(begin, stop):
        while index[i] >= row_first + columns:
            row, row_first = row + 1, row_first + columns
            above += live[row]
        left[i] = kept + above * wide + before[index[i] - row_first]


rank = compiled(_rank)
compact = compiled(_compact)


def _get(data: Array, bit: int, width: int) -> int:
    return np.int64(
        (load64(data, bit >> 3) >> np.uint64(bit & 7)) & ((np.uint64(1) << np.uint64(width)) - np.uint64(1))
    )


get = compiled(_get)


def _get_map(data: Array, bit: int, last: int, n: int, which: Array) -> tuple[int, int]:
    """The next bit, and how many of n are kept, whose numbers are put into which; (-1, 0) where this is no map."""
    if bit + 2 > last:
        return -1, 0
    many, i = 0, 0
    if get(data, bit, 1) == 0:
        bit += 1
        if bit + n > last:
            return -1, 0
        for i in range(n):
            if get(data, bit + i, 1):
                which[many] = i
                many += 1
        return bit + n, many
    one = get(data, bit + 1, 1)
    bit += 2
    while i < n:
        width = 0
        while bit < last and width < 40 and get(data, bit, 1) == 0:
            bit, width = bit + 1, width + 1
        if bit + 1 + width > last:
            return -1, 0
        run = 1 << width | get(data, bit + 1, width)
        bit += 1 + width
        if i + run > n:
            return -1, 0
        if one:
            for j in range(i, i + run):
                which[many] = j
                many += 1
        i, one = i + run, 1 - one
    return bit, many


get_map = compiled(_get_map)


def _read_maps(data: Array, at: int, stop: int, layers: Array, kept: Array, which: Array) -> tuple[int, int]:
    """Where the maps end, and how many coordinates are kept; (-1, 0) where they are none.

    kept (m, 2): rows and columns kept of each layer, -1 where all are; which (rows and columns of all layers,) which.
    """
    bit, last, place, total = at * 8, stop * 8, 0, np.int64(0)
    for l in range(len(layers)):
        rows, columns = layers[l, 0], layers[l, 1]
        if bit >= last:
            return -1, 0
        drop = get(data, bit, 1)
        bit += 1
        kept[l, :] = -1
        if drop:
            bit, kept[l, 0] = get_map(data, bit, last, rows, which[place:])
            if bit < 0:
                return -1, 0
            bit, kept[l, 1] = get_map(data, bit, last, columns, which[place + rows :])
            if bit < 0:
                return -1, 0
        total += kept[l, 0] * kept[l, 1] if drop else rows * columns
        place += rows + columns
    if bit & 7 and data[bit >> 3] >> (bit & 7):
        return -1, 0
    return bit + 7 >> 3, total


read_maps = compiled(_read_maps)


def _expand(index: Array, layers: Array, kept: Array, which: Array) -> None:
    """From places among what is kept, all below its number, to coordinates, in place."""
    first, before, place, i = np.int64(0), np.int64(0), 0, 0
    for l in range(len(layers)):
        rows, columns = layers[l, 0], layers[l, 1]
        if kept[l, 0] < 0:
            while i < index.size and index[i] < before + rows * columns:
                index[i] += first - before
                i += 1
            before += rows * columns
        else:
            for r in range(kept[l, 0]):
                row = first + which[place + r] * columns
                while i < index.size and index[i] < before + kept[l, 1]:
                    index[i] = row + which[place + rows + index[i] - before]
                    i += 1
                before += kept[l, 1]
        first, place = first + rows * columns, place + rows + columns


expand = compiled(_expand)


def _room(layers: Array) -> int:
    """Bytes that the maps may take."""
    bits = np.int64(8)
    for l in range(len(layers)):
        bits += layers[l, 0] + layers[l, 1] + 3
    return bits // 8 + SLACK


room = compiled(_room)
