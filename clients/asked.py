"""What the clients of a shard are asked in one call, and what they have answered so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fl_ef21 import blocks
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind
from fl_ef21.errors import Refused

Answer = tuple[bytes, bytes] | Refused  # a packed block and a payload, or why there is none
_COMMON = ["kind", "plan", "round", "experiment"]


@dataclass(frozen=True)
class Asked:
    """Instructions to m clients.

    Attributes:
      at: (m,) their places among those of the call.
      clients: (m,) int64.
      blocks: (m,) the instructions.
    """

    at: Array
    clients: Array
    blocks: Array

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, which: Array | slice) -> Asked:
        return Asked(self.at[which], self.clients[which], self.blocks[which])

    @property
    def kind(self) -> Kind:
        return Kind(int(self.blocks["kind"][0]))

    @property
    def plan(self) -> int:
        return int(self.blocks["plan"][0])

    @property
    def round(self) -> int:
        return int(self.blocks["round"][0])

    @property
    def experiment(self) -> bytes:
        return bytes(self.blocks["experiment"][0].tobytes())

    @property
    def span(self) -> range:
        """From the first client to the last."""
        return range(int(self.clients.min()), int(self.clients.max()) + 1)

    def alike(self) -> Iterator[Asked]:
        """By what can be followed together: instructions of one kind, method, round and experiment."""
        shared = self.blocks[_COMMON]
        if (shared == shared[0]).all():
            yield self
            return
        packed = np.ascontiguousarray(shared.astype(np.dtype([(name, shared.dtype[name]) for name in _COMMON])))
        group = np.unique(packed.view(f"V{packed.itemsize}"), return_inverse=True)[1].reshape(-1)
        for one in range(group.max() + 1):
            yield self[np.flatnonzero(group == one)]

    def tiles(self, size: int, by_id: bool) -> list[Asked]:
        """At most `size` clients each; by_id: cut so that a client's neighbours do not depend on the shards."""
        if not by_id:
            return [self[slice(a, a + size)] for a in range(0, len(self), size)]
        tile = self.clients // size
        order = np.argsort(tile, kind="stable")
        return [self[which] for which in np.split(order, np.flatnonzero(np.diff(tile[order])) + 1)]

    def turns(self) -> Iterator[Asked]:
        """In the order of the call, each client at most once in a turn."""
        rest = self
        while len(rest):
            first = np.unique(rest.clients, return_index=True)[1]
            if len(first) == len(rest):
                yield rest
                return
            first.sort()
            yield rest[first]
            rest = rest[np.setdiff1d(np.arange(len(rest)), first)]


class Answers:
    """One answer for each instruction of a call."""

    def __init__(self, count: int) -> None:
        self._answers: list[Answer | None] = [None] * count

    def say(self, asked: Asked, kind: Kind | Array, payloads: Sequence[bytes] = ()) -> None:
        """These instructions' blocks with this kind, and a payload each."""
        self.put(asked, blocks.answered(asked.blocks, kind), payloads)

    def put(self, asked: Asked, replies: Array, payloads: Sequence[bytes] = ()) -> None:
        """These blocks (m,), and a payload each."""
        packed = blocks.pack(replies)
        for at, block, payload in zip(asked.at.tolist(), packed, payloads or [b""] * len(packed), strict=True):
            self._answers[at] = (block, payload)

    def refuse(self, asked: Asked, why: Refused) -> None:
        """The same refusal for all of them."""
        for at in asked.at.tolist():
            self._answers[at] = why

    def all(self) -> list[Answer]:
        """In the order of the instructions. Every one must have been given."""
        assert None not in self._answers
        return self._answers  # type: ignore[return-value]
