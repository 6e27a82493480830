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
    """

    round: int
    clients: Array
    answered: Array
    uplink: Layers
    downlink: Layers

    def totals(self) -> dict[str, int]:
        """Both directions summed over the clients, by the names of `columns`."""
        both = {"uplink": self.uplink.totals(), "downlink": self.downlink.totals()}
        return {f"{way}_{layer}": total for way, of in both.items() for layer, total in of.items()}

    def pack(self) -> str:
        """As a text that JSON can keep; `unpack` gives it back."""
        layers = [getattr(of, layer) for of in (self.uplink, self.downlink) for layer in LAYERS]
        table = np.stack([np.full_like(self.clients, self.round), self.clients, self.answered, *layers])
        return b85encode(zlib.compress(table.astype("<i8").tobytes())).decode()

    @classmethod
    def unpack(cls, text: str) -> Traffic:
        rows = 3 + 2 * len(LAYERS)
        table = np.frombuffer(zlib.decompress(b85decode(text)), "<i8").reshape(rows, -1).astype(np.int64)
        up, down = Layers(*table[3 : 3 + len(LAYERS)]), Layers(*table[3 + len(LAYERS) :])
        return cls(int(table[0, 0]), table[1], table[2].astype(bool), up, down)

    def columns(self) -> dict[str, Array]:
        """A table with a row for each client."""
        found: dict[str, Array] = {
            "round": np.full(len(self.clients), self.round, np.int32),
            "client": self.clients.astype(np.int32),
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


def tally(
    number: int, down: Down, clients: Array, payloads: Array, bits: Array, bound_bytes: Array,
    failed: Mapping[int, int] | None = None, signed: bool = False,
) -> Traffic:  # fmt: skip
    """A round's traffic from what was sent down and, for each of the `clients` (h,) that answered, its reply.

    `failed`: the length of the reason of each client that answered with an error; signed: whether replies are.
    """
    group, m = str(number), len(down.clients)
    asked, answer = down.wire, flower_traffic.replies(payloads, group, signed)
    order = np.argsort(down.clients)
    at = order[np.searchsorted(down.clients, clients, sorter=order)]
    up, back = np.array(asked.up, np.int64), np.array(asked.down, np.int64)
    up[at] += answer.up
    back[at] += answer.down
    for client, length in (failed or {}).items():
        where = np.flatnonzero(down.clients == client)
        cost = flower_traffic.failure(length, group)
        up[where] += cost.up
        back[where] += cost.down
    answered = np.zeros(m, bool)
    answered[at] = True
    spread = [_spread(m, at, column) for column in (bits, payloads, bound_bytes)]
    uplink = Layers(spread[0], spread[1], up, spread[2])
    sent = np.asarray(down.payload_bytes, np.int64)
    downlink = Layers(_whole(down.bits), sent, back, _whole(down.bound_bytes))
    return Traffic(number, down.clients, answered, uplink, downlink)


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
        self.columns["asked"][done.clients] += 1
