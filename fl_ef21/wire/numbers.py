"""A client's numbers as a section of bytes, in whichever of three codes is the shortest.

RAW: as many bits for each as its width. GOLOMB: a byte b, the smallest number, and the others beyond it as Golomb codes
with M = 2^b. CLASSES: the table of `fl_ef21.wire.classes` and its codes; it needs a few hundred numbers to pay off.
"""

from __future__ import annotations

import numpy as np

from fl_ef21.compiled import compiled
from fl_ef21.wire import bits, classes, golomb
from fl_ef21.wire.bits import Array
from fl_ef21.wire.classes import LOG_STATES, MOST

RAW, GOLOMB, CLASSES = range(3)
FEW = 256  # numbers for which classes are not tried: the table alone takes 10 us
MANY = 8192  # numbers from which Golomb codes are not tried
LINEAR = 9  # m for numbers whose classes are equally wide: 2^9 = MOST of them
ROOM = 6 * MOST  # bytes that a table may take
EACH = 6  # bytes that a number's code may take


def _room(count: int) -> int:
    """Bytes within which any section of so many numbers can be written."""
    return EACH * count + ROOM + bits.SLACK


room = compiled(_room)


def _put_varint(out: Array, at: int, number: int) -> int:
    """Seven bits a byte, the lowest first, the highest bit set where more follow; where it ends."""
    while number >= 128:
        out[at] = number & 127 | 128
        number >>= 7
        at += 1
    out[at] = number
    return at + 1


put_varint = compiled(_put_varint)


def _get_varint(data: Array, at: int, stop: int) -> tuple[int, int]:
    """The number at byte `at` and where it ends; (0, -1) unless it is below 2^32, in its shortest form, in time."""
    number = 0
    for j in range(5):
        if at >= stop:
            return 0, -1
        byte = np.int64(data[at])
        number |= (byte & 127) << 7 * j
        at += 1
        if byte < 128:
            return (number, at) if number < 1 << 32 and (byte > 0 or j == 0) else (0, -1)
    return 0, -1


get_varint = compiled(_get_varint)


def _bit_length(number: int) -> int:
    n = 0
    while number >> n:
        n += 1
    return n


bit_length = compiled(_bit_length)


def _cost(held: Array, many: int, total: int, shift: int, fixed: int, log: int) -> float:
    """About how many bits `total` numbers take in classes, `many` of them, each 2^shift neighbours of `held` and with
    `fixed` raw bits, the table included."""
    cost, filled = 0.0, 0
    for first in range(0, many, 1 << shift):
        n = 0
        for s in range(first, min(many, first + (1 << shift))):
            n += held[s]
        if n:
            cost -= n * np.log2(n / total)
            filled += 1
    wide = max(1, (many >> shift) + 1)
    return cost + total * fixed + wide * (2 + max(0.0, log - np.log2(wide))) + 8 * 6 if filled else np.inf


cost = compiled(_cost)


def _states(count: int, filled: int) -> int:
    """R: a table that is small beside so many numbers, and has room for the classes."""
    log = min(LOG_STATES, max(5, bit_length(count) - 2))
    while (1 << log) < 2 * filled and log < LOG_STATES:
        log += 1
    return log


states = compiled(_states)


def _best_golomb(x: Array, low: int) -> tuple[int, int]:
    """b and the bits that the numbers x - low take in Golomb codes with M = 2^b."""
    total = np.int64(0)
    for i in range(x.size):
        total += np.int64(x[i]) - low
    b = max(0, min(29, bit_length(total // max(1, x.size)) - 2))
    best, least = b, np.int64(1) << 62
    for wider in range(b, b + 3):
        taken = np.int64(x.size) * (1 + wider)
        for i in range(x.size):
            taken += (np.int64(x[i]) - low) >> wider
        if taken < least:
            best, least = wider, taken
    return best, least


best_golomb = compiled(_best_golomb)


def _in_classes(x: Array, low: int, r: int, m: int, s: Array, held: Array, many: int, out: Array, at: int) -> int:
    """The section from byte `at` for numbers of these classes; where it ends."""
    filled = 0
    for c in range(many):
        filled += held[c] > 0
    log = states(x.size, filled)
    count = np.zeros(max(2, many), np.int64)
    classes.scale(held, many, log, count)
    if filled == 1:  # two classes at least, so that no number takes nothing
        other = 0 if many > 1 else 1
        count[many - 1], count[other], many = count[many - 1] - 1, 1, max(2, many)
    b, _ = best_golomb(count, 0)
    b = min(b, log - 1)
    out[at], out[at + 1], out[at + 2] = log | m << 4, r, b
    at = put_varint(out, at + 3, low)
    at = put_varint(out, at, many)
    at = golomb.write(count, 0, 1 << b, out, at)
    return classes.write(x, s, low, r, m, count, many, log, out, at)


in_classes = compiled(_in_classes)


def _fitted(x: Array, low: int, high: int, s: Array, held: Array) -> tuple[int, int, float]:
    """Equally wide classes s for the numbers, as wide as is best: r, how many classes, and about the bits they take."""
    r = max(0, bit_length(high - low) - LINEAR)
    many = classes.assign(x, low, r, LINEAR, s, held)
    log, best, shift = states(x.size, 0), np.inf, 0
    for wider in range(min(LINEAR, 32 - r)):
        taken = cost(held, many, x.size, wider, r + wider, log)
        if taken < best:
            best, shift = taken, wider
    if shift:
        for i in range(x.size):
            s[i] >>= shift
        for c in range(many):
            n, held[c] = held[c], 0
            held[c >> shift] += n
        many = ((many - 1) >> shift) + 1
    return r + shift, many, best


fitted = compiled(_fitted)


def _write(x: Array, width: int, s: Array, held: Array, out: Array, at: int) -> tuple[int, int]:
    """Numbers below 2^width, width <= 32, from byte `at`: where they end, and their code.

    s (x.size,) uint16 and held (MOST,) int64 are scratch.
    """
    size = (x.size * width + 7) // 8
    if x.size == 0:
        return at, RAW
    low, high = x[0], x[0]
    for i in range(x.size):
        low, high = min(low, x[i]), max(high, x[i])
    least, b = np.int64(low), -1
    if x.size < MANY:
        wider, length = best_golomb(x, least)
        taken = (length + 7) // 8 + 1 + (max(1, bit_length(least)) + 6) // 7
        if taken < size:
            size, b = taken, wider
    if x.size >= FEW:
        r, many, taken = fitted(x, least, np.int64(high), s, held)
        if taken < 8 * size:
            stop = in_classes(x, least, r, LINEAR, s, held, many, out, at)
            if stop - at < size:
                return stop, CLASSES
    if b < 0:
        return bits.pack(x, width, out, at), RAW
    out[at] = b
    return golomb.write(x, least, 1 << b, out, put_varint(out, at + 1, least)), GOLOMB


write = compiled(_write)


def _open_classes(data: Array, at: int, stop: int, table: Array) -> tuple[int, int]:
    """Builds the decoder's table of a section: R, and where the codes begin; (0, -1) where it is not right.

    With an empty table, instead of R how many states the widest class has.
    """
    if stop - at < 5:
        return 0, -1
    log, m, r, b = np.int64(data[at]) & 15, np.int64(data[at]) >> 4, np.int64(data[at + 1]), np.int64(data[at + 2])
    if log < 4 or log > LOG_STATES or m > LINEAR or r > 31 or b >= log:
        return 0, -1
    low, at = get_varint(data, at + 3, stop)
    if at < 0:
        return 0, -1
    many, at = get_varint(data, at, stop)
    if at < 0 or many < 1 or many > MOST or classes.raw(many - 1, r, m) > 31:
        return 0, -1
    count = np.empty(many, np.uint32)
    at = golomb.read(data, at, stop, 0, 1 << b, count)
    if at < 0 or count[many - 1] == 0 or classes.least(many - 1, r, m) + low >= 1 << 32:
        return 0, -1
    total, widest = np.int64(0), np.int64(0)
    for s in range(many):
        total, widest = total + count[s], max(widest, np.int64(count[s]))
    if total != 1 << log or widest == total:
        return 0, -1
    if table.size == 0:
        return widest, at
    classes.decoder(count.astype(np.int64), many, log, low, r, m, table)
    return log, at


open_classes = compiled(_open_classes)


def _fits(data: Array, at: int, stop: int, count: int, code: int, golomb_from: int) -> bool:
    """Whether the section at .. stop - 1 may hold so many numbers at all; Golomb codes begin `golomb_from` bytes in.

    Looks at no more than a table, so that what is stated is believed only within 1,500 numbers a bit.
    """
    if code == GOLOMB:
        return count <= 8 * (stop - at - golomb_from)
    log, (widest, begin) = np.int64(data[at]) & 15, open_classes(data, at, stop, np.empty(0, np.uint64))
    if begin < 0:
        return False
    return count * ((1 << log) - widest) <= (8 * (stop - begin) + log) << log


fits = compiled(_fits)


def _read(data: Array, at: int, stop: int, code: int, width: int, table: Array, x: Array) -> bool:
    """Fills x from the section at .. stop - 1; whether it is one of x.size numbers below 2^width in this code."""
    if code == RAW:
        return stop - at == (x.size * width + 7) // 8 and (x.size == 0 or bits.unpack(data, at, width, x))
    if x.size == 0:
        return False
    if code == GOLOMB:
        if at >= stop or data[at] > 31:
            return False
        low, begin = get_varint(data, at + 1, stop)
        if begin < 0 or golomb.read(data, begin, stop, low, 1 << np.int64(data[at]), x) != stop:
            return False
    elif code == CLASSES:
        log, begin = open_classes(data, at, stop, table)
        if begin < 0 or not classes.read(data, begin, stop, log, table, x):
            return False
    else:
        return False
    every = np.uint32(0)
    for i in range(x.size):
        every |= x[i]
    return np.int64(every) >> width == 0


read = compiled(_read)
