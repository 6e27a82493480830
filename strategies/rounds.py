"""What a round did, and how its clients are taken in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fl_ef21.blocks import Array
from fl_ef21.traffic import Traffic

TOGETHER = 1 << 28  # bytes of decoded float64 values that are in memory at once


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
      participants: clients whose message is in g.
      refused: how many replies were not used, by reason; `first` tells of one of them.
      uplink_bytes, downlink_bytes: serialised payloads of this round.
      traffic: the same client by client and in layers, None where the strategy does not account.
    """

    number: int
    invited: int
    participants: int
    refused: Mapping[str, int]
    first: str
    uplink_bytes: int
    downlink_bytes: int
    traffic: Traffic | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Commit:
    """What one round changed.

    Attributes:
      clients: (m,) int64, in the order in which they were added; payloads: m of them.
      left, joined: changes of membership, before the sum.
      digest: 16 bytes over what the server holds afterwards, equal for equal trajectories.
    """

    round: int
    clients: Array
    payloads: Sequence[bytes]
    left: tuple[int, ...]
    joined: tuple[int, ...]
    digest: bytes


class Silence(RuntimeError):
    """A round in which no client could be used."""


def groups(some: Array, entries: int) -> list[Array]:
    """Cut so that messages of so many entries fit `TOGETHER`: nearly always one group, except of dense vectors."""
    size = max(1, TOGETHER // (8 * max(1, entries)))
    return [some[at : at + size] for at in range(0, len(some), size)]


def round_half_up(number: float) -> int:
    """2.5 -> 3, where Python's own rounding says 2."""
    return int(number + 0.5)
