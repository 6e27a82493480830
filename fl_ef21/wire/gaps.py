"""Increasing indices as the gaps between them, in whichever of three codes is the shortest.

GOLOMB: with the M that (d, k) says is best for k of d coordinates drawn at random. CLASSES: for supports that are not
random, by the table of `fl_ef21.wire.classes`. BITMAP: a bit for each coordinate.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire import bits, classes, golomb, numbers
from fl_ef21.wire.bits import Array

GOLOMB, CLASSES, BITMAP = 1, 2, 3
LAYERED = 4  # added to the code where empty rows and columns are left out first
FINE = 4096  # gaps from which classes are four to the octave, else two


def _room(dim: int, count: int) -> int:
    """Bytes within which the gaps of so many indices can be written."""
    m = golomb.divisor(dim, max(1, count))
    most = (count * (1 + golomb.width(m)) + dim // m) // 8
    return max(most, numbers.EACH * count + numbers.ROOM if count >= numbers.FEW else 0) + 1 + bits.SLACK


room = compiled(_room)


def _write(index: Array, dim: int, gap: Array, s: Array, held: Array, out: Array, at: int) -> tuple[int, int]:
    """Indices (k,) int64, increasing, below dim, from byte `at`: where they end, and their code.

    gap (k,) uint32, s (k,) uint16 and held (MOST,) int64 are scratch.
    """
    k, last = index.size, np.int64(-1)
    if k == 0:
        return at, GOLOMB
    for i in range(k):
        gap[i] = index[i] - last - 1
        last = index[i]
    m = golomb.divisor(dim, k)
    size, code = (golomb.length(gap, 0, m) + 7) // 8, GOLOMB
    if (dim + 7) // 8 < size:
        size, code = (dim + 7) // 8, BITMAP
    if k >= numbers.FEW:
        fine = 2 if k >= FINE else 1
        many = classes.assign(gap, 0, 0, fine, s, held)
        stop = numbers.in_classes(gap, 0, 0, fine, s, held, many, out, at)
        if stop - at < size + (size >> 8 if k >= FINE else 0):  # classes are read twice as fast
            return stop, CLASSES
    if code == GOLOMB:
        return golomb.write(gap, 0, m, out, at), GOLOMB
    out[at : at + size] = 0
    for i in range(k):
        out[at + (index[i] >> 3)] |= np.uint8(1 << (index[i] & 7))
    return at + size, BITMAP


write = compiled(_write)


def _read_bitmap(data: Array, at: int, stop: int, dim: int, index: Array) -> bool:
    if stop - at != (dim + 7) // 8:
        return False
    n = 0
    for byte in range(stop - at):
        rest = np.int64(data[at + byte])
        for bit in range(8):
            if rest >> bit & 1:
                if n == index.size:
                    return False
                index[n] = byte * 8 + bit
                n += 1
    return n == index.size and (n == 0 or index[n - 1] < dim)


read_bitmap = compiled(_read_bitmap)


def _read(data: Array, at: int, stop: int, code: int, dim: int, table: Array, gap: Array, index: Array) -> bool:
    """Fills index (k,) int64 from the bytes at .. stop - 1; whether they are that many increasing indices below dim.

    gap (k,) uint32 and table are scratch.
    """
    k = index.size
    if code == BITMAP:
        return read_bitmap(data, at, stop, dim, index)
    if k == 0:
        return code == GOLOMB and at == stop
    if code == GOLOMB:
        if golomb.read(data, at, stop, 0, golomb.divisor(dim, k), gap) != stop:
            return False
    elif code == CLASSES:
        log, begin = numbers.open_classes(data, at, stop, table)
        fine = begin >= 0 and classes.read_indices(data, begin, stop, log, table, index)
        return fine and index[k - 1] < dim
    else:
        return False
    last = np.int64(-1)
    for i in range(k):
        last += np.int64(gap[i]) + 1
        index[i] = last
    return last < dim


read = compiled(_read)
