"""What a client that lacks something is sent: its g at one point, and the increments that lead from there.

The server holds every payload it has added, so it can give a client back what was lost with a disk, or what an old
backup misses. The result is bitwise what the client had. A momentum that nobody but the client knew begins anew as g.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fl_ef21.commit import HASH, Point


@dataclass(frozen=True)
class Repair:
    """A way to the point that the instruction names.

    Attributes:
      start: where it begins.
      whole: payload of g there, as a vector in full; None where it is zero, or is what the client has.
      increments: payloads of the increments that follow.
    """

    start: Point
    whole: bytes | None = None
    increments: tuple[bytes, ...] = ()

    def points(self) -> list[Point]:
        """Where it passes through, from the start to the end."""
        way = [self.start]
        for payload in self.increments:
            way.append(way[-1].then(payload))
        return way

    @property
    def nbytes(self) -> int:
        """Payload bytes."""
        return len(self.whole or b"") + sum(map(len, self.increments))

    def pack(self) -> list[bytes]:
        """As byte strings: the start, the whole or nothing, each increment."""
        return [self.start.version.to_bytes(8, "little") + self.start.chain, self.whole or b"", *self.increments]

    @classmethod
    def unpack(cls, parts: Sequence[bytes]) -> Repair | None:
        """None where these are not such strings."""
        if len(parts) < 2 or len(parts[0]) != 8 + HASH:
            return None
        start = Point(int.from_bytes(parts[0][:8], "little"), parts[0][8:])
        return cls(start, parts[1] or None, tuple(parts[2:]))
