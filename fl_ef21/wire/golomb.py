"""Golomb codes: the shortest prefix codes of geometric numbers, such as the gaps of a uniform support.

A number x = q M + r is q zeros and a one, then r in t = ceil(log2 M) bits or one bit less: with s = 2^t - M, r in t - 1
bits where r < s, else the t bits of r + s, the highest t - 1 of them first.

Reference: Golomb. Run-length encodings. IEEE Transactions on Information Theory 1966; the best M: Gallager and van
Voorhis, 1975.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire.bits import Array, end, load64, put, zeros_below

LONGEST = 1 << 40  # of a run of zeros; more is no number of ours


def _divisor(dim: int, count: int) -> int:
    """M for the gaps of `count` of `dim` coordinates: 0.693 dim / count, rounded, at least 1."""
    return max(1, (693 * dim + 500 * count) // (1000 * count))


def _width(m: int) -> int:
    """ceil(log2 m)."""
    t = 0
    while (1 << t) < m:
        t += 1
    return t


divisor, width = (compiled(formula) for formula in (_divisor, _width))


def _length(x: Array, low: int, m: int) -> int:
    """Bits that the numbers x - low take."""
    t = width(m)
    spare, bits = (1 << t) - m, 0
    for i in range(x.size):
        q = (np.int64(x[i]) - low) // m
        bits += q + 1 + t - ((np.int64(x[i]) - low) - q * m < spare)
    return bits


length = compiled(_length)


def _write(x: Array, low: int, m: int, out: Array, at: int) -> int:
    """The numbers x - low from byte `at`; where they end."""
    t = width(m)
    spare, acc, held = (1 << t) - m, np.uint64(0), 0
    for i in range(x.size):
        y = np.int64(x[i]) - low
        q = y // m
        r = y - q * m
        while q >= 32:
            at, acc, held = put(out, at, acc, held, 0, 32)
            q -= 32
        at, acc, held = put(out, at, acc, held, 1 << q, q + 1)
        if r < spare:
            at, acc, held = put(out, at, acc, held, r, t - 1)
        else:
            r += spare
            at, acc, held = put(out, at, acc, held, r >> 1 | (r & 1) << (t - 1), t) if t else (at, acc, held)
    return end(out, at, acc, held)


write = compiled(_write)


def _read(data: Array, at: int, stop: int, low: int, m: int, x: Array) -> int:
    """Fills x with numbers + low from the bytes at .. stop - 1; the byte after them, -1 where they are no such numbers.

    A number that does not fit x's uint32 is none.
    """
    t = width(m)
    spare, bit, last = (1 << t) - m, at * 8, stop * 8
    below = np.uint64((1 << max(0, t - 1)) - 1)
    for i in range(x.size):
        q = np.int64(0)
        while True:
            run = np.int64(zeros_below(load64(data, bit >> 3) >> np.uint64(bit & 7)))
            if run < 57:
                break
            q += 56
            bit += 56
            if bit >= last or q > LONGEST:
                return -1
        q += run
        bit += run + 1
        word = load64(data, bit >> 3) >> np.uint64(bit & 7)
        r = np.int64(word & below)
        if t > 0:
            bit += t - 1
            if r >= spare:
                r = (r << 1 | np.int64(word >> np.uint64(t - 1) & np.uint64(1))) - spare
                bit += 1
        y = q * m + r + low
        if bit > last or y >= 1 << 32:
            return -1
        x[i] = y
    if bit & 7 and data[bit >> 3] >> (bit & 7):
        return -1
    return bit + 7 >> 3


read = compiled(_read)
