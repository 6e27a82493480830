"""What a round cost, client by client, in three layers and a bound, up and down.

- algorithm bits: as papers count them, 32 a number and indices free;
- payload: bytes of what is handed to Flower, the model's record or a compressed message; the 76-byte block that says
  which state is meant is framing;
- wire: bytes between SuperNode and SuperLink in a deployment, requests, responses and their heads (`flower_traffic`);
- bound: bytes of the message at the least (`bound`).

Wire bytes are counted in the direction in which they travel: fetching an instruction sends requests up.
"""

from __future__ import annotations

import zlib
from base64 import b85decode, b85encode
from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from fl_ef21 import flower_traffic
from fl_ef21.blocks import Array
from fl_ef21.flower_traffic import Cost

LAYERS = ("algorithm_bits", "payload_bytes", "wire_bytes", "bound_bytes")


@dataclass(frozen=True)
class Layers:
    """One direction, an entry for each client, all (m,) int64."""

    algorithm_bits: Array
    payload_bytes: Array
    wire_bytes: Array
    bound_bytes: Array

    def totals(self) -> dict[str, int]:
        """Summed over the clients."""
        return {layer: int(getattr(self, layer).sum()) for layer in LAYERS}


@dataclass(frozen=True)
class Traffic:
    """One round of m invited clients.

    Attributes:
      round: its number.
      clients: (m,) int64, increasing or not, each once.
      answered: (m,) bool, whose payload came. A reply that was lost has been asked for and costs nothing up but
        the requests that fetched the instruction.
      asked: (m,) bool, who was asked in this round; the others' replies answer an earlier one.
    """

    round: int
    clients: Array
    answered: Array
    asked: Array
    uplink: Layers
    downlink: Layers

    def totals(self) -> dict[str, int]:
        """Both directions summed over the clients, by the names of `columns`."""
        both = {"uplink": self.uplink.totals(), "downlink": self.downlink.totals()}
        return {f"{way}_{layer}": total for way, of in both.items() for layer, total in of.items()}

    def pack(self) -> str:
        """As a text that JSON can keep; `unpack` gives it back."""
        layers = [getattr(of, layer) for of in (self.uplink, self.downlink) for layer in LAYERS]
        came = self.answered + 2 * self.asked
        table = np.stack([np.full_like(self.clients, self.round), self.clients, came, *layers])
        return b85encode(zlib.compress(table.astype("<i8").tobytes())).decode()

    @classmethod
    def unpack(cls, text: str) -> Traffic:
        rows = 3 + 2 * len(LAYERS)
        table = np.frombuffer(zlib.decompress(b85decode(text)), "<i8").reshape(rows, -1).astype(np.int64)
        up, down = Layers(*table[3 : 3 + len(LAYERS)]), Layers(*table[3 + len(LAYERS) :])
        return cls(int(table[0, 0]), table[1], table[2] % 2 == 1, table[2] >= 2, up, down)

    def columns(self) -> dict[str, Array]:
        """A table with a row for each client."""
        found: dict[str, Array] = {
            "round": np.full(len(self.clients), self.round, np.int32),
            "client": self.clients.astype(np.int32),
            "asked": self.asked,
            "answered": self.answered,
        }
        for direction in ("uplink", "downlink"):
            layers = getattr(self, direction)
            found |= {f"{direction}_{f.name}": getattr(layers, f.name) for f in fields(layers)}
        return found


@dataclass(frozen=True)
class Down:
    """What was sent down to m invited clients.

    Attributes:
      clients, payload_bytes: (m,) int64.
      bits, bound_bytes: (m,) float64 as above.
      wire: of the instructions, (m,) each way.
    """

    clients: Array
    payload_bytes: Array
    bits: Array
    bound_bytes: Array
    wire: Cost


@dataclass(frozen=True)
class Came:
    """Replies that came, all (h,): of whom, bytes of payloads, bits as papers count them, and bytes at the least."""

    clients: Array
    payloads: Array
    bits: Array
    bound_bytes: Array


NOTHING = Came(*(np.zeros(0, np.int64) for _ in range(4)))


def tally(
    number: int, down: Down, came: Came, failed: Mapping[int, int] | None = None, late: Came = NOTHING,
    signed: bool = False,
) -> Traffic:  # fmt: skip
    """A round's traffic from what was sent down and what came of it.

    `failed`: the length of the reason of each client that answered with an error; `late`: replies to earlier rounds, of
    clients that were not asked in this one; signed: whether replies are.
    """
    group, m, h = str(number), len(down.clients), len(late.clients)
    order = np.argsort(down.clients)
    at = np.append(order[np.searchsorted(down.clients, came.clients, sorter=order)], m + np.arange(h))
    all_ = {name: np.append(getattr(came, name), getattr(late, name)) for name in ("payloads", "bits", "bound_bytes")}
    answer = flower_traffic.replies(all_["payloads"], group, signed)
    up, back = (np.append(np.array(way, np.int64), np.zeros(h, np.int64)) for way in (down.wire.up, down.wire.down))
    up[at] += answer.up
    back[at] += answer.down
    for client, length in (failed or {}).items():
        where = np.flatnonzero(down.clients == client)
        cost = flower_traffic.failure(length, group)
        up[where] += cost.up
        back[where] += cost.down
    answered, asked = np.zeros(m + h, bool), np.arange(m + h) < m
    answered[at] = True
    spread = [_spread(m + h, at, all_[name]) for name in ("bits", "payloads", "bound_bytes")]
    uplink = Layers(spread[0], spread[1], up, spread[2])
    told = [np.append(column, np.zeros(h)) for column in (down.bits, down.payload_bytes, down.bound_bytes)]
    downlink = Layers(_whole(told[0]), _whole(told[1]), back, _whole(told[2]))
    return Traffic(number, np.append(down.clients, late.clients), answered, asked, uplink, downlink)


def _spread(m: int, at: Array, column: Array) -> Array:
    found = np.zeros(m)
    found[at] = column
    return _whole(found)


def _whole(column: Array) -> Array:
    return np.rint(column).astype(np.int64)


class PerClient:
    """Sums over the rounds of a method, a row for each client of the population: (n,) int64 columns."""

    def __init__(self, clients: int) -> None:
        names = [f"{way}_{layer}" for way in ("uplink", "downlink") for layer in LAYERS]
        self.columns: dict[str, Array] = {name: np.zeros(clients, np.int64) for name in ("asked", "answered", *names)}

    def add(self, done: Traffic) -> None:
        for name, column in done.columns().items():
            if name in self.columns:
                self.columns[name][done.clients] += column
