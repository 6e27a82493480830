"""Numbers of a few bits each, packed row by row, the lowest bit first; the last byte is padded with zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def nbytes(count: int, width: int) -> int:
    """Bytes that `count` numbers of `width` bits take."""
    return (count * width + 7) // 8


def pack(numbers: Array, width: int) -> Array:
    """(m, nbytes) uint8 from (m, k) booleans or unsigned numbers below 2^width, width <= 32."""
    if numbers.dtype == bool:
        return np.packbits(numbers, axis=1, bitorder="little")
    m, k = numbers.shape
    groups = -(-k // 8)  # eight numbers fill `width` bytes
    padded = np.zeros((m, groups, 8), dtype=np.uint64)
    padded.reshape(m, -1)[:, :k] = numbers
    out = np.zeros((m, groups, width), dtype=np.uint8)
    for lane in range(8):
        first, shift = divmod(lane * width, 8)
        shifted = padded[:, :, lane] << shift
        for j in range(nbytes(1, shift + width) if width else 0):
            out[:, :, first + j] |= (shifted >> (8 * j)).astype(np.uint8)
    return out.reshape(m, groups * width)[:, : nbytes(k, width)]


def unpack(body: Array, k: int, width: int, dtype: str) -> tuple[Array, Array]:
    """The (m, k) numbers in (m, nbytes) uint8, and (m,) whether the padding of a row is zero."""
    m, used = len(body), k * width % 8
    clean: Array = body[:, -1] >> used == 0 if used else np.ones(m, dtype=bool)
    if dtype == "bool":
        return np.unpackbits(body, axis=1, count=k, bitorder="little").view(bool), clean
    groups = -(-k // 8)
    padded = np.zeros((m, groups * width), dtype=np.uint8)
    padded[:, : body.shape[1]] = body
    octets = padded.reshape(m, groups, width)
    out = np.empty((m, groups, 8), dtype=dtype)
    for lane in range(8):
        first, shift = divmod(lane * width, 8)
        joined = np.zeros((m, groups), dtype=np.uint64)
        for j in range(nbytes(1, shift + width) if width else 0):
            joined |= octets[:, :, first + j].astype(np.uint64) << (8 * j)
        out[:, :, lane] = joined >> shift & ((1 << width) - 1)
    return out.reshape(m, groups * 8)[:, :k], clean


def ones(body: Array, k: int, size: int) -> tuple[Array, Array]:
    """Where the k one bits of every row are, (m, k) increasing, and (m,) whether a row is sound.

    A sound row has k ones, all of them among its first `size` bits. The positions in others mean nothing.
    """
    bits = np.unpackbits(body, axis=1, bitorder="little")
    sound = (bits.sum(axis=1, dtype=np.int64) == k) & ~bits[:, size:].any(axis=1)
    if not sound.all():
        bits[~sound] = np.arange(bits.shape[1]) < k
    at = np.flatnonzero(bits.view(bool)).reshape(len(body), k)
    return at - np.arange(len(body))[:, None] * bits.shape[1], sound
