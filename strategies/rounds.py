"""What a round did, and how its clients are taken in groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
      late: replies of an earlier round that are in g.
      surplus: usable replies beyond those that were wanted.
      abandoned: whether there were too few usable replies, so that none had an effect.
      repaired: clients that were sent what they lacked.
      quarantined, evicted: who is asked no more from now on, and who of these leaves.
      staleness: of each message that is in g, how many rounds ago it was asked for.
      traffic: the same client by client and in layers, None where the strategy does not account.
    """

    number: int
    invited: int
    participants: int
    refused: Mapping[str, int]
    first: str
    uplink_bytes: int
    downlink_bytes: int
    late: int = 0
    surplus: int = 0
    abandoned: bool = False
    repaired: int = 0
    quarantined: tuple[int, ...] = ()
    evicted: tuple[int, ...] = ()
    staleness: tuple[int, ...] = ()
    traffic: Traffic | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Heard:
    """Replies that answer what was asked.

    Attributes:
      clients, version: (m,) int64, who sent each and from which version of its state.
      payloads: m of them.
    """

    clients: Array
    version: Array
    payloads: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.clients)

    def __getitem__(self, which: Array) -> Heard:
        return Heard(self.clients[which], self.version[which], [self.payloads[at] for at in which.tolist()])


@dataclass(frozen=True)
class Commit:
    """What one round changed: enough to make it again without the clients.

    Attributes:
      clients: (m,) int64, whose increments were added, in this order.
      payloads: m of them.
      left, joined: who went and came before the sum.
      digest: 16 bytes over the model, g and every client's point after it.
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


def names(clients: Iterable[int]) -> str:
    """The first ten of them, and how many more."""
    some = list(clients)
    return ", ".join(map(str, some[:10])) + (f" and {len(some) - 10} more" if len(some) > 10 else "")


def round_half_up(number: float) -> int:
    """2.5 -> 3, where Python's own rounding says 2."""
    return int(number + 0.5)
