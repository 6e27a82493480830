"""What the server holds of every client: how many increments, and the hash chain over them."""

from __future__ import annotations

from fl_ef21.commit import Block, Kind, Point
from fl_ef21.errors import Refused


class Ledger:
    """The server's side of the commit protocol. Only `commit` makes an increment real."""

    def __init__(self, experiment: bytes, source: bytes, plan: int, clients: int) -> None:
        self._experiment, self._source, self._plan = experiment, source, plan
        self.points = [Point.origin(experiment, i) for i in range(clients)]
        self._seq = 0
        self._open: dict[int, Block] = {}

    def instruct(self, kind: Kind, client: int, round: int) -> Block:
        """The next instruction to a client; whatever it was asked before is closed."""
        self._seq += 1
        block = Block(kind, self._plan, client, round, self._seq, self.points[client], self._experiment, self._source)
        self._open[client] = block
        return block

    def close(self) -> None:
        """Nothing is awaited any more: what still comes is late, also from a client that is not asked again soon."""
        self._open.clear()

    def hello(self) -> Block:
        """Asks a node whose client number is not known yet."""
        return Block(Kind.HELLO, self._plan, 0, 0, 0, Point(0, bytes(16)), self._experiment, self._source)

    def accept(self, packed: bytes) -> Block:
        """The reply's block, if it answers what is open.

        Raises: Refused("stale") for a late, repeated or foreign reply, Refused("lacks") where the client
        has not the state the server believes in.
        """
        block = Block.unpack(packed)
        asked = self._open.get(block.client)
        if asked is None or (block.seq, block.experiment, block.plan) != (
            asked.seq,
            asked.experiment,
            asked.plan,
        ):
            raise Refused("stale", f"client {block.client} answers what is not open")
        del self._open[block.client]
        if block.kind in (Kind.LACKS, Kind.STALE):
            raise Refused(block.kind.name.lower(), f"client {block.client} holds version {block.point.version}")
        expected = Kind.UPDATE if asked.kind == Kind.TRAIN else asked.kind
        if packed != Block.answered(asked.pack(), expected):
            raise Refused("stale", f"client {block.client} computed from another state")
        return block

    def commit(self, client: int, payload: bytes) -> None:
        """The increment is in g now."""
        self.points[client] = self.points[client].then(payload)
