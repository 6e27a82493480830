"""Numbers as classes, coded by how often each occurs, with raw bits that tell the numbers of a class apart.

Class s = 2^m e + f, f < 2^m, holds the numbers x with

    ((2^m + f) 2^e - 2^m) 2^r <= x - low < ((2^m + f + 1) 2^e - 2^m) 2^r

so classes grow with x where m is small and are equally wide where 2^m is large; e + r raw bits tell which x it is.
Classes are coded by a table of 2^R states (tabled asymmetric numeral systems). Of many numbers, four states take turns,
so that a processor works on four of them at once. The codes are written from the last number to the first and read
from their end.

Reference: Duda. Asymmetric numeral systems. arXiv 1311.2540. The spreading of classes over the table is that of Collet.
FSE, RFC 8878, section 4.1.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire.bits import Array, end, load64, put

MOST = 512  # classes
LOG_STATES = 11  # R at the most: the decoder's table takes 16 KiB, half of a first-level cache
MANY = 4096  # numbers from which four states take turns
_BLOCK = 256
_ONE, _BYTE, _HALF, _32, _16, _8 = (np.uint64(u) for u in (1, 0xFF, 0xFFFF, 32, 16, 8))


def _lanes(count: int) -> int:
    """States that take turns: number i belongs to state i mod lanes, which is a power of two."""
    return 4 if count >= MANY else 1


lanes = compiled(_lanes)


def _assign(x: Array, low: int, r: int, m: int, s: Array, held: Array) -> int:
    """The classes s of the numbers x and how many each holds; the number of classes, 0 if over MOST."""
    real = np.empty(_BLOCK, np.float64)  # its exponent and highest bits are e and f: found for many numbers at once
    word, first, most = real.view(np.int64), (1023 + m) << m, 0
    held[:] = 0
    for begin in range(0, x.size, _BLOCK):
        n = min(_BLOCK, x.size - begin)
        for i in range(n):
            real[i] = np.float64(((np.int64(x[begin + i]) - low) >> r) + (1 << m))
        for i in range(n):
            c = (word[i] >> (52 - m)) - first
            most = max(most, c)
            s[begin + i] = min(c, MOST - 1)
        for i in range(n):
            held[s[begin + i]] += 1
    return most + 1 if most < MOST else 0


assign = compiled(_assign)


def _scale(held: Array, classes: int, log: int, count: Array) -> None:
    """How many of the 2^log states each class has: as many as its share says, at least one where it is not empty."""
    total, states, left, widest = 0, 1 << log, 1 << log, 0
    for s in range(classes):
        total += held[s]
    for s in range(classes):
        count[s] = max((held[s] * states + total // 2) // total, np.int64(held[s] > 0))
        left -= count[s]
        if count[s] > count[widest]:
            widest = s
    while left < 0:  # too many small ones were given a state: the widest give, in turn
        for s in range(classes):
            if left < 0 and count[s] > 1 and 2 * count[s] > count[widest]:
                count[s] -= 1
                left += 1
        for s in range(classes):
            if count[s] > count[widest]:
                widest = s
    count[widest] += left


scale = compiled(_scale)


def _spread(count: Array, classes: int, log: int, of: Array) -> None:
    """The class of each of the 2^log states."""
    states = 1 << log
    step, at = (states >> 1) + (states >> 3) + 3, 0
    for s in range(classes):
        for _ in range(count[s]):
            of[at] = s
            at = (at + step) & (states - 1)


spread = compiled(_spread)


def _raw(s: int, r: int, m: int) -> int:
    """Raw bits of a number of class s."""
    return (s >> m) + r


def _least(s: int, r: int, m: int) -> int:
    """The smallest x - low of class s."""
    return ((((1 << m) + (s & ((1 << m) - 1))) << (s >> m)) - (1 << m)) << r


raw, least = (compiled(formula) for formula in (_raw, _least))


def _encoder(count: Array, classes: int, log: int, rule: Array, onto: Array) -> None:
    """`rule` (classes, 2) and `onto` (2^log,): from state z, class s sends b = (z + rule[s, 0]) >> 16 low bits of z and
    goes to onto[(z >> b) + rule[s, 1]]."""
    states, first = 1 << log, 0
    of, fill = np.empty(states, np.int64), np.empty(classes, np.int64)
    spread(count, classes, log, of)
    for s in range(classes):
        fill[s] = first
        if count[s] > 0:  # b is `top` where z >= count << top, else one less
            top = log
            while (count[s] << top) >= 2 * states:
                top -= 1
            rule[s, 0] = (top << 16) - (count[s] << top)
        rule[s, 1] = first - count[s]
        first += count[s]
    for z in range(states):
        onto[fill[of[z]]] = z + states
        fill[of[z]] += 1


encoder = compiled(_encoder)


def _write(
    x: Array, s: Array, low: int, r: int, m: int, count: Array, classes: int, log: int, out: Array, at: int
) -> int:
    """The numbers from byte `at`, the last one first, then the states and a one; where they end."""
    rule, onto = np.empty((classes, 2), np.int64), np.empty(1 << log, np.int64)
    encoder(count, classes, log, rule, onto)
    base, bits = np.empty(classes, np.int64), np.empty(classes, np.int64)
    for c in range(classes):
        base[c], bits[c] = least(c, r, m) + low, raw(c, r, m)
    turns = lanes(x.size)
    state, acc, held = np.full(turns, 1 << log, np.int64), np.uint64(0), 0
    for i in range(x.size - 1, -1, -1):
        c, z = s[i], state[i & (turns - 1)]
        b = (z + rule[c, 0]) >> 16
        said = (z & ((1 << b) - 1)) << bits[c] | (np.int64(x[i]) - base[c])
        at, acc, held = put(out, at, acc, held, said, b + bits[c])
        state[i & (turns - 1)] = onto[(z >> b) + rule[c, 1]]
    for j in range(turns - 1, -1, -1):
        at, acc, held = put(out, at, acc, held, state[j] - (1 << log), log)
    at, acc, held = put(out, at, acc, held, 1, 1)
    return end(out, at, acc, held)


write = compiled(_write)


def _decoder(count: Array, classes: int, log: int, low: int, r: int, m: int, table: Array) -> None:
    """`table` (2^log,): the smallest number (32 bits), the next state but for what is read (16), the raw bits (8), all
    bits to be read (8)."""
    states = 1 << log
    of, now = np.empty(states, np.int64), count[:classes].copy()
    spread(count, classes, log, of)
    for z in range(states):
        s = of[z]
        b, x = 0, now[s]
        now[s] += 1
        while (x << b) < states:
            b += 1
        e = raw(s, r, m)
        table[z] = (
            np.uint64(least(s, r, m) + low) << _32 | np.uint64((x << b) - states) << _16 | np.uint64(e) << _8
            | np.uint64(e + b)
        )  # fmt: skip


decoder = compiled(_decoder)


def _take(data: Array, bit: int, e: int) -> tuple[int, int]:
    """The number that a state's entry e and the bits from `bit` on say, and the next state."""
    word = load64(data, bit >> 3) >> np.uint64(bit & 7)
    raw_bits, all_bits = e >> _8 & _BYTE, e & _BYTE
    number = (e >> _32) + (word & ((_ONE << raw_bits) - _ONE))
    return number, (e >> _16 & _HALF) + ((word & ((_ONE << all_bits) - _ONE)) >> raw_bits)


take = compiled(_take)


def _reader(sums: int) -> Any:
    """A loop that fills x from the bytes at .. stop - 1 and says whether they are as many numbers, to the last bit.

    With sums = 0 these are the numbers, and one that overflows uint32 stands for itself modulo 2^32. With sums = 1 they
    are gaps, and x (k,) int64 the indices between which they lie.
    """

    def _read(data: Array, at: int, stop: int, log: int, table: Array, x: Array) -> bool:
        last = np.int64(-sums)
        if stop <= at or data[stop - 1] == 0:
            return False
        bit, first, turns = stop * 8 - 1, at * 8, lanes(x.size)
        while data[bit >> 3] >> (bit & 7) & 1 == 0:
            bit -= 1
        if bit - first < turns * log:
            return False
        s = np.zeros(4, np.uint64)
        for j in range(turns):
            bit -= log
            s[j] = load64(data, bit >> 3) >> np.uint64(bit & 7) & np.uint64((1 << log) - 1)
        s0, s1, s2, s3 = s[0], s[1], s[2], s[3]
        i, whole = 0, x.size - x.size % 4 if turns == 4 else 0
        while i < whole and bit - first >= 4 * 57:  # four numbers cannot read past the beginning
            e = table[s0]
            bit -= np.int64(e & _BYTE)
            number, s0 = take(data, bit, e)
            last = last * sums + np.int64(number) + sums
            x[i] = last
            e = table[s1]
            bit -= np.int64(e & _BYTE)
            number, s1 = take(data, bit, e)
            last = last * sums + np.int64(number) + sums
            x[i + 1] = last
            e = table[s2]
            bit -= np.int64(e & _BYTE)
            number, s2 = take(data, bit, e)
            last = last * sums + np.int64(number) + sums
            x[i + 2] = last
            e = table[s3]
            bit -= np.int64(e & _BYTE)
            number, s3 = take(data, bit, e)
            last = last * sums + np.int64(number) + sums
            x[i + 3] = last
            i += 4
        s[0], s[1], s[2], s[3] = s0, s1, s2, s3
        while i < x.size:
            e = table[s[i & (turns - 1)]]
            bit -= np.int64(e & _BYTE)
            if bit < first:
                return False
            number, s[i & (turns - 1)] = take(data, bit, e)
            last = last * sums + np.int64(number) + sums
            x[i] = last
            i += 1
        return bit == first and not s.any()

    return compiled(_read)


read, read_indices = _reader(0), _reader(1)
