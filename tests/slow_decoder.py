"""A decoder of payloads written from docs/wire-format.md alone: slow, one number at a time, trusting."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import google_crc32c
import torch

from fl_ef21.messages import subset_rows

FLOATS = ("<d", "<f", "<H", "<e")


class Bits:
    """A bit string that is read from its beginning or, by `last`, from its end."""

    def __init__(self, data: bytes) -> None:
        self.whole, self.left = int.from_bytes(data, "little"), 8 * len(data)

    def first(self, width: int) -> int:
        assert width <= self.left
        number, self.whole, self.left = self.whole & ((1 << width) - 1), self.whole >> width, self.left - width
        return number

    def last(self, width: int) -> int:
        assert width <= self.left
        self.left -= width
        number, self.whole = self.whole >> self.left, self.whole & ((1 << self.left) - 1)
        return number

    def golomb(self, m: int) -> int:
        q = 0
        while not self.first(1):
            q += 1
        t = 0
        while 1 << t < m:
            t += 1
        if t == 0:
            return q
        s, r = (1 << t) - m, self.first(t - 1)
        return q * m + (r if r < s else 2 * r + self.first(1) - s)


@dataclass
class Reader:
    data: bytes
    at: int = 0

    def take(self, size: int) -> bytes:
        self.at += size
        assert self.at <= len(self.data)
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        number, shift = 0, 0
        while True:
            (byte,) = self.take(1)
            number, shift = number | (byte & 127) << shift, shift + 7
            if byte < 128:
                assert byte > 0 or shift == 7
                return number


def classes(data: bytes, n: int) -> list[int]:
    r = Reader(data)
    first, shift, b = r.take(3)
    log, m = first & 15, first >> 4
    low, c = r.varint(), r.varint()
    string = Bits(data[r.at :])
    before = string.left
    count = [string.golomb(1 << b) for _ in range(c)]
    string.first(string.left % 8)
    codes = Bits(data[len(data) - string.left // 8 :])
    assert before > string.left and sum(count) == 1 << log and count[-1] and max(count) < 1 << log
    states = 1 << log
    of, at = [0] * states, 0
    for s in range(c):
        for _ in range(count[s]):
            of[at] = s
            at = (at + states // 2 + states // 8 + 3) % states
    seen, bits, after = list(count), [], []
    for z in range(states):
        y = seen[of[z]]
        seen[of[z]] += 1
        k = 0
        while y << k < states:
            k += 1
        bits.append(k)
        after.append((y << k) - states)
    while not codes.last(1):
        pass
    turns = 4 if n >= 4096 else 1
    z = [codes.last(log) for _ in range(turns)]
    x = []
    for i in range(n):
        state = z[i % turns]
        s = of[state]
        e, f = s >> m, s % (1 << m)
        upper = codes.last(bits[state] + e + shift)
        x.append(low + ((((1 << m) + f) << e) - (1 << m) << shift) + upper % (1 << (e + shift)))
        z[i % turns] = after[state] + (upper >> (e + shift))
    assert codes.left == 0 and not any(z)
    return x


def numbers(data: bytes, code: int, n: int, width: int) -> list[int]:
    if code == 2:
        return classes(data, n)
    r = Reader(data)
    if code == 0:
        string = Bits(data)
        x = [string.first(width) for _ in range(n)]
    else:
        (b,) = r.take(1)
        low = r.varint()
        string = Bits(data[r.at :])
        x = [low + string.golomb(1 << b) for _ in range(n)]
    assert string.left < 8 and string.whole == 0
    return x


def indices(data: bytes, code: int, dim: int, k: int) -> list[int]:
    if code == 3:
        return bitmap(data, dim)
    if code == 2:
        gaps = classes(data, k)
    else:
        string = Bits(data)
        m = max(1, (693 * dim + 500 * k) // (1000 * k)) if k else 1
        gaps = [string.golomb(m) for _ in range(k)]
        assert string.left < 8 and string.whole == 0
    index, last = [], -1
    for gap in gaps:
        last += gap + 1
        index.append(last)
    return index


def bitmap(data: bytes, dim: int) -> list[int]:
    assert len(data) == (dim + 7) // 8
    string = Bits(data)
    marked = [i for i in range(dim) if string.first(1)]
    assert string.whole == 0
    return marked


def number_as_float(x: int, kind: int) -> float:
    """kind: 1, 2, 3 for float32, bfloat16, float16."""
    width = 32 if kind == 1 else 16
    word = x >> 1 | (x & 1) << (width - 1)
    if kind == 2:
        return struct.unpack("<f", struct.pack("<I", word << 16))[0]
    return struct.unpack(FLOATS[kind], word.to_bytes(width // 8, "little"))[0]


def read(p: bytes, factors: int = 0) -> tuple[int, list[int], list[float]]:
    """d, the indices and the values of one payload; of factors the `factors` floats as they are sent."""
    assert p[-4:] == google_crc32c.value(p[:-4]).to_bytes(4, "little")
    r = Reader(p[:-4])
    magic, version, kind, codes, dim, k = struct.unpack("<2sBBBII", r.take(13))
    assert (magic, version) == (b"EF", 1)
    support, values = kind >> 4, kind & 15
    n = factors if 4 <= values < 8 else k
    known, plain, count, width = b"", b"", n, {1: 32, 2: 16, 3: 16}.get(values % 4, 32)
    if values in (0, 4):
        plain, count = r.take(8 * n), 0
    elif values in (8, 9):
        plain, count, width = r.take(8 if values == 8 else 4), (k + 7) // 8, 8
    elif values in (10, 11):
        known, width = r.take(8), 9
    elif values in (12, 13):
        known = r.take(6)
        most, bucket = struct.unpack("<HI", known)
        plain = r.take((-(-k // bucket) if bucket else 1) * (8 if values == 12 else 4))
        width = (2 * most).bit_length()
    size = r.varint() if codes >> 4 else (count * width + 7) // 8
    x = numbers(r.take(size), codes >> 4, count, width)
    rest = r.data[r.at :]
    if support == 0:
        assert not rest
        index = list(range(dim))
    elif support == 2:
        index = subset_rows(torch.tensor(struct.unpack("<q", rest)), dim, k)[0].tolist()
    else:
        index = indices(rest, codes & 15, dim, k)
    return dim, index, real(values, known, plain, x, k)


def real(values: int, known: bytes, plain: bytes, x: list[int], k: int) -> list[float]:
    if values in (0, 4):
        return list(struct.unpack(f"<{len(plain) // 8}d", plain))
    if values < 8:
        return [number_as_float(number, values % 4) for number in x]
    if values < 10:
        (scale,) = struct.unpack("<d" if values == 8 else "<f", plain)
        string = Bits(bytes(x))
        signs = [string.first(1) for _ in range(k)]
        assert string.whole == 0
        return [-scale if sign else scale for sign in signs]
    if values < 12:
        (scale,) = struct.unpack("<d", known)
        sizes = [0.0 if number < 2 else scale * 2.0 ** ((number >> 1) - 128) for number in x]
        return [-size if number & 1 else size for number, size in zip(x, sizes, strict=True)]
    _, bucket = struct.unpack("<HI", known)
    kind, each = ("d", 8) if values == 12 else ("f", 4)
    units = struct.unpack(f"<{len(plain) // each}{kind}", plain)
    levels = [number // 2 if number % 2 == 0 else -(number // 2) - 1 for number in x]
    return [level * units[j // bucket if bucket else 0] for j, level in enumerate(levels)]
