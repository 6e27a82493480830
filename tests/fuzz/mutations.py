"""Payloads spoilt in the ways that accidents and attackers spoil them.

Nothing here knows more of the format than that a head comes first and a CRC32C of all the rest last, so that
a new version of it needs no change. Numbers of a head, lengths of sections among them, are hit by `counts`,
`borders` and `varints`; what is coded after it by the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import google_crc32c

HEAD = 32  # bytes at the start that are hit more often: no head is longer
CRC = 4
EXTREMES = [
    number.to_bytes(size, "little")
    for size in (1, 2, 4, 8)
    for number in (0, 1, 1 << (8 * size - 1), (1 << (8 * size - 1)) - 1, (1 << 8 * size) - 1)
]

Mutation = Callable[[bytearray, Sequence[bytes], Random], None]


def sealed(body: bytes) -> bytes:
    """`body` and its CRC32C."""
    return body + int(google_crc32c.value(body)).to_bytes(CRC, "little")


def mutated(payload: bytes, others: Sequence[bytes], rng: Random, repair: bool) -> bytes:
    """`payload` after one to five mutations, with its checksum made right again or not.

    others: payloads to splice with.
    """
    data = bytearray(payload[:-CRC] if repair else payload)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        rng.choice(MUTATIONS)(data, others, rng)
    return sealed(bytes(data)) if repair else bytes(data)


def _at(data: bytearray, rng: Random) -> int:
    """A place, as often in the head as after it."""
    within = len(data) if rng.random() < 0.5 else min(len(data), HEAD)
    return rng.randrange(within) if within else 0


def flip(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """One bit."""
    if data:
        data[_at(data, rng)] ^= 1 << rng.randrange(8)


def byte(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """One byte, anything."""
    if data:
        data[_at(data, rng)] = rng.randrange(256)


def counts(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """A number of the head becomes a little more or less, or twice or half as much."""
    if data:
        at = rng.randrange(min(len(data), HEAD))
        now = data[at]
        data[at] = rng.choice((now + 1, now - 1, now + 2, now - 2, 2 * now, now // 2)) & 255


def borders(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Two numbers of the head change against one another: a border between sections moves, the sum holds."""
    if len(data) > 1:
        one, other = rng.sample(range(min(len(data), HEAD)), 2)
        by = rng.choice((1, 2, 7))
        data[one], data[other] = data[one] + by & 255, data[other] - by & 255


def varints(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """A number of seven bits a byte becomes overlong, endless or huge."""
    if data:
        at = rng.randrange(min(len(data), HEAD))
        longer = rng.choice((b"\x00", b"\x80\x00", b"\xff" * rng.randrange(1, 11), b"\x80" * rng.randrange(1, 11)))
        data[at] |= 0x80
        data[at + 1 : at + 1] = longer


def extreme(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """The smallest or the largest number of 1, 2, 4 or 8 bytes, in place of what was there."""
    at, new = _at(data, rng), rng.choice(EXTREMES)
    data[at : at + len(new)] = new


def float_extreme(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """An infinity, a NaN or the largest float of some size, anywhere or at the end."""
    top = rng.choice((b"\x80\x7f", b"\x80\xff", b"\xc0\x7f", b"\x7f\x7f", b"\xf0\x7f", b"\x00\x7c", b"\xff\x7f"))
    new = rng.choice((b"", b"\0\0", b"\xff\xff", bytes(6))) + top
    at = _at(data, rng) if rng.random() < 0.7 else max(0, len(data) - len(new))
    data[at : at + len(new)] = new


def shorter(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """The end is missing."""
    if data:
        del data[_at(data, rng) if rng.random() < 0.4 else max(0, len(data) - rng.randrange(1, 9)) :]


def longer(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Something was added to the end: anything, zeros or ones."""
    size = rng.choice((1, 1, 2, 4, 8, 100))
    data += rng.choice((rng.randbytes(size), bytes(size), b"\xff" * size))


def hole(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Some bytes are missing in the middle."""
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 1, 2, 4, 8, 64))]


def insert(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Some bytes too many in the middle."""
    at = _at(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 1, 2, 4, 8)))


def repeat(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """A stretch stands there twice, or in place of another one."""
    size = rng.randrange(1, 33)
    start, at = _at(data, rng), _at(data, rng)
    piece = data[start : start + size]
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def fill(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """A stretch of zeros or ones."""
    at, size = _at(data, rng), rng.choice((4, 16, 64))
    size = min(size, len(data) - at)
    data[at : at + size] = rng.choice((b"\0", b"\xff")) * max(0, size)


def noise(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Everything from some place on is random, of the same length."""
    at = _at(data, rng)
    data[at:] = rng.randbytes(len(data) - at)


def splice(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """The start of this payload, the end of another one: cut at one place in both, or at two."""
    other = rng.choice(others)
    at = _at(data, rng)
    start = at if rng.random() < 0.6 else rng.randrange(len(other) + 1)
    data[at:] = other[start:]


def head_of(data: bytearray, others: Sequence[bytes], rng: Random) -> None:
    """Some bytes of another payload's head in place of this one's."""
    other = rng.choice(others)
    start, stop = sorted(rng.choices(range(HEAD), k=2))
    data[start : stop + 1] = other[start : stop + 1]


MUTATIONS: tuple[Mutation, ...] = (
    flip, flip, byte, byte, counts, counts, borders, borders, varints, extreme, extreme, float_extreme,
    shorter, longer, hole, insert, repeat, fill, noise, splice, splice, head_of,
)  # fmt: skip
