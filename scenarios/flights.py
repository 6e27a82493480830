"""Replies that were sent and have not arrived yet, on the virtual clock."""

from __future__ import annotations

from base64 import b85decode, b85encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from fl_ef21 import records
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import make_message
from scenarios.timeline_file import AT, NUMBERS
from strategies.flower import CompressedStrategy
from strategies.flower_replies import read

WHEN, SIZES, BYTES = "flights.when", "flights.sizes", "flights.bytes"  # in a cut


@dataclass(frozen=True)
class Flight:
    """What one client was asked, and what it replied.

    Attributes:
      round: the one that asked.
      row: what the timeline tells of it, as far as that is known (`scenarios.timeline_file.NUMBERS`).
      messages: the reply, more than once where the network doubles it.
    """

    client: int
    round: int
    row: tuple[float, ...]
    messages: tuple[Message, ...]

    @property
    def arrives(self) -> float:
        """Virtual seconds."""
        return self.row[AT["arrives"]]


class Flights:
    """By client; one that is asked again has no other any more."""

    def __init__(self, flights: Iterable[Flight] = ()) -> None:
        self._of = {one.client: one for one in flights}

    def __len__(self) -> int:
        return len(self._of)

    @property
    def clients(self) -> list[int]:
        """In order."""
        return sorted(self._of)

    def all(self) -> list[Flight]:
        """In the order of the clients."""
        return [self._of[client] for client in self.clients]

    def add(self, flights: Iterable[Flight]) -> None:
        self._of |= {one.client: one for one in flights}

    def take(self, clients: Iterable[int]) -> list[Flight]:
        """Those of these clients, which are not under way any more."""
        return [self._of.pop(client) for client in clients if client in self._of]

    # To go on later -------------------------------------------------------------------------------

    def image(self) -> dict[str, Tensor]:
        """What `restore` makes them of; of a reply that came twice one is kept, the other would be refused."""
        told = [(one, *_content(one)) for one in self.all()]
        when = [[one.client, one.round, *one.row] for one, _, _ in told]
        sizes = [[len(block), len(payload)] for _, block, payload in told]
        body = b"".join(part for _, *parts in told for part in parts)
        return {
            WHEN: torch.tensor(when, dtype=torch.float64).reshape(len(told), 2 + len(NUMBERS)),
            SIZES: torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
            BYTES: torch.from_numpy(np.frombuffer(body, np.uint8).copy()),
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], strategy: CompressedStrategy) -> Flights:
        """And have the server expect them."""
        body, at, found = tensors[BYTES].numpy().tobytes(), 0, list[Flight]()
        for when, (block, payload) in zip(tensors[WHEN].tolist(), tensors[SIZES].tolist(), strict=True):
            parts = body[at : at + block], body[at + block : at + block + payload]
            at += block + payload
            client, round, *row = when
            node = strategy.nodes.of.get(int(client), 0)
            found.append(Flight(int(client), int(round), tuple(row), (_message(*parts, node),)))
        strategy.ledger.expect([read(one.messages[0])[0] for one in found])
        return cls(found)

    def note(self) -> dict[str, Any]:
        """`image` as JSON can keep it."""
        found = self.image()
        return {
            WHEN: found[WHEN].tolist(), SIZES: found[SIZES].tolist(),
            BYTES: b85encode(found[BYTES].numpy().tobytes()).decode(),
        }  # fmt: skip

    @classmethod
    def from_note(cls, note: Mapping[str, Any], strategy: CompressedStrategy) -> Flights:
        """Of what `note` told."""
        body = np.frombuffer(b85decode(note[BYTES]), np.uint8).copy()
        tensors = {
            WHEN: torch.tensor(note[WHEN], dtype=torch.float64),
            SIZES: torch.tensor(note[SIZES], dtype=torch.int64),
            BYTES: torch.from_numpy(body),
        }
        return cls.restore(tensors, strategy)


def _content(one: Flight) -> tuple[bytes, bytes]:
    return read(one.messages[0])


def _message(block: bytes, payload: bytes, node: int) -> Message:
    """The reply as it was, as far as a strategy looks."""
    return make_message({"_src_node_id": node, "_message_type": "train"}, records.reply(block, payload), None)


def usable(message: Message) -> bool:
    """Whether there is something in it to be heard later: errors are told at once."""
    try:
        read(message)
    except Refused:
        return False
    return True
