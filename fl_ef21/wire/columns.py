"""The numbers of a payload by columns, and the clients of a round by rectangles.

A client sends some numbers once, such as a scale, and others for each entry. In memory both lie client
after client. Clients that send equally many entries form a rectangle, which NumPy packs in one go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fl_ef21.wire import bits
from fl_ef21.wire.bits import Array


@dataclass(frozen=True)
class Column:
    """Numbers of one sort, client after client.

    Attributes:
      dtype: in memory, and on the wire where `width` is its size.
      width: bits a number takes.
      each: how many a client sends; None for one per entry.
      blank: the number in a client's place when its payload is refused, which makes its values zero.
    """

    dtype: str
    width: int
    each: int | None = None
    blank: int = 0

    def count(self, entries: int) -> int:
        """Numbers sent by a client of so many entries."""
        return entries if self.each is None else self.each

    def nbytes(self, entries: int) -> int:
        """Bytes sent by a client of so many entries."""
        return bits.nbytes(self.count(entries), self.width)

    def write(self, numbers: Array) -> Array:
        """(m, nbytes) uint8 from (m, count)."""
        if self.width < 8 * np.dtype(self.dtype).itemsize:
            return bits.pack(numbers, self.width)
        return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)

    def read(self, body: Array, entries: int) -> tuple[Array, Array]:
        """The (m, count) numbers, and (m,) whether the padding of a row is zero."""
        if self.width < 8 * np.dtype(self.dtype).itemsize:
            return bits.unpack(body, self.count(entries), self.width, self.dtype)
        return body.copy().view(self.dtype), np.ones(len(body), dtype=bool)

    def blanks(self, clients: int, entries: int) -> Array:
        """Room for all clients: (clients, each), or (entries,) flat."""
        shape = entries if self.each is None else (clients, self.each)
        return np.full(shape, self.blank, dtype=self.dtype)

    def take(self, numbers: Array, r: Rectangle) -> Array:
        """The (m, count) numbers of some clients, out of those of all."""
        return r.take(numbers) if self.each is None else numbers[r.rows]

    def put(self, numbers: Array, r: Rectangle, some: Array) -> None:
        """Writes the (m, count) numbers of some clients among those of all."""
        if self.each is None:
            r.put(numbers, some)
        else:
            numbers[r.rows] = some


@dataclass(frozen=True)
class Rectangle:
    """Clients that send equally many entries.

    Attributes:
      rows: (m,) which clients, increasing.
      count: entries each sends.
      first: (m,) where the entries of each begin in a flat array.
    """

    rows: Array
    count: int
    first: Array

    def _at(self) -> slice | Array:
        m = len(self.rows)
        if self.rows[-1] - self.rows[0] == m - 1:  # neighbours: a slice is enough
            return slice(int(self.first[0]), int(self.first[0]) + m * self.count)
        return (self.first[:, None] + np.arange(self.count)).reshape(-1)

    def take(self, flat: Array) -> Array:
        """These clients' entries (m, count) of all."""
        return flat[self._at()].reshape(len(self.rows), self.count)

    def put(self, flat: Array, entries: Array) -> None:
        """Writes these clients' entries (m, count) into all."""
        flat[self._at()] = entries.reshape(-1)


def rectangles(counts: Array, rows: Array) -> Iterator[Rectangle]:
    """The clients `rows`, increasing, by how many entries they send. counts (n,) int64, of all clients."""
    first = np.cumsum(counts) - counts
    rows = rows[np.argsort(counts[rows], kind="stable")]
    for same in np.split(rows, np.flatnonzero(np.diff(counts[rows])) + 1):
        if len(same):
            yield Rectangle(same, int(counts[same[0]]), first[same])
