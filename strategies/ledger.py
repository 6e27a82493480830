"""What the server holds of every client: how many increments, and the hash chain over them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import blocks
from fl_ef21.blocks import Array, Points
from fl_ef21.commit import HASH, Kind, Point
from fl_ef21.errors import Refused


class Ledger:
    """The server's side of the commit protocol. Only `commit` makes an increment real.

    Attributes:
      points: what the server holds, a row for each client.
      term: which start of the server this is, from 1; a server that was started again has the larger one.
    """

    def __init__(self, experiment: bytes, source: bytes, plan: int, clients: int) -> None:
        self._experiment, self._source, self._plan = experiment, source, plan
        self.points = Points.origin(experiment, range(clients))
        self.term, self._seq = 1, 0
        self._asked = blocks.blank(Kind.HELLO, np.arange(clients), experiment, source)
        self._open = np.zeros(clients, dtype=bool)

    def instruct(self, kind: Kind, clients: Array, round: int) -> list[bytes]:
        """The next instruction, packed, to each of these clients; whatever they were asked before is closed."""
        asked = blocks.blank(kind, clients, self._experiment, self._source)
        asked["plan"], asked["round"], asked["term"] = self._plan, round, self.term
        asked["seq"] = self._seq + 1 + np.arange(len(clients))
        asked["version"], asked["chain"] = self.points.version[clients], self.points.chain[clients]
        self._seq += len(clients)
        self._asked[clients], self._open[clients] = asked, True
        return blocks.pack(asked)

    def close(self) -> None:
        """Nothing is awaited any more: what still comes is late, also from a client that is not asked again soon."""
        self._open[:] = False

    def reopen(self, clients: Array) -> None:
        """What these answered was not used: the same answer is good once more, until they are asked again."""
        self._open[clients] = True

    def expect(self, packed: Sequence[bytes]) -> None:
        """These replies (blocks) may still come: what they answer is open, as it was when it was asked."""
        replies, _ = blocks.parse(packed)
        clients = replies["client"].astype(np.int64)
        self._asked[clients], self._open[clients] = blocks.answered(replies, Kind.TRAIN), True

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Whatever is asked meanwhile, what was open before is open again afterwards."""
        before = self._asked.copy(), self._open.copy()
        try:
            yield
        finally:
            self._asked, self._open = before

    def hello(self) -> bytes:
        """Asks a node whose client number is not known yet."""
        hello = blocks.blank(Kind.HELLO, np.zeros(1, np.int64), self._experiment, self._source)
        hello["plan"], hello["term"] = self._plan, self.term
        return blocks.pack(hello)[0]

    def accept(self, packed: Sequence[bytes]) -> tuple[Array, dict[int, Refused]]:
        """The blocks (n,) of replies, and which do not answer what is open; an instruction has one answer.

        Refusals are "block" for what is no block, "stale" for a late, repeated or foreign reply, "lacks" where the
        client has not the state the server believes in, and "behind" where it has not the model.
        """
        replies, refused = blocks.parse(packed)
        known = replies["client"] < len(self._open)
        clients = np.where(known, replies["client"], 0).astype(np.int64)
        asked, meant = self._asked[clients], known & self._open[clients]
        for name in ("term", "seq", "plan"):
            meant &= replies[name] == asked[name]
        meant &= blocks.same(replies["experiment"], asked["experiment"])
        meant[list(refused)] = False
        for at in np.flatnonzero(~meant).tolist():
            refused.setdefault(at, Refused("stale", f"client {replies['client'][at]} answers what is not open"))
        answering = np.flatnonzero(meant)
        first = answering[np.unique(clients[answering], return_index=True)[1]]
        for at in np.setdiff1d(answering, first).tolist():
            refused[at] = Refused("stale", f"client {clients[at]} answers twice")
        self._open[clients[first]] = False
        self._judge(replies, asked, first, refused)
        return replies, refused

    def _judge(self, replies: Array, asked: Array, first: Array, refused: dict[int, Refused]) -> None:
        kind = np.where(asked["kind"] == Kind.TRAIN, Kind.UPDATE, asked["kind"])
        right = replies == blocks.answered(asked, kind)
        for at in first[~right[first]].tolist():
            client, said = int(replies["client"][at]), int(replies["kind"][at])
            if said in (Kind.LACKS, Kind.STALE, Kind.BEHIND):
                what = "no such model" if said == Kind.BEHIND else f"version {replies['version'][at]}"
                told = f"client {client} holds {what}"
                refused[at] = Refused(Kind(said).name.lower(), told)
            elif said == Kind.BYE:
                refused[at] = Refused("bye", f"client {client} leaves")
            else:
                refused[at] = Refused("stale", f"client {client} computed from another state")

    def commit(self, clients: Array, payloads: Sequence[bytes]) -> None:
        """These increments are in g now."""
        self.points.put(clients, *self.points.then(clients, payloads))

    def origin(self, client: int, epoch: int) -> Point:
        """Where a client begins that has left so often."""
        return Point.origin(self._experiment, client, epoch)

    def begin(self, client: int, origin: Point) -> None:
        """The client is there now, and nothing is awaited from it: it has left, or comes back."""
        chain = np.frombuffer(origin.chain, "<u8")
        self.points.put(np.array([client]), np.array([origin.version]), chain)
        self._open[client] = False

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The points; what is open is not kept, as a server that starts again has a new term."""
        chain = torch.from_numpy(self.points.chain.view(np.int64).copy())
        return {"version": torch.from_numpy(self.points.version.copy()), "chain": chain}, {}

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        chain = tensors["chain"].numpy().view(np.uint64).reshape(-1, HASH // 8)
        self.points = Points(tensors["version"].numpy().copy(), chain.copy())
        self.close()
