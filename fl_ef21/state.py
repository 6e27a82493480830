"""Where the state of clients lies: two slots a client, one committed and one staged.

Committing flips a bit, so no vector is ever copied for the protocol's sake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from fl_ef21.commit import Point

S = TypeVar("S")


class Rows:
    """The state of the clients `clients` under one experiment.

    Attributes:
      slots: for each field of the method's state (2, n, d).
      current: (n,) int64, the slot that is committed.
      points, staged: what each client has committed, and computed but not committed.
      seen: the last sequence number followed.
    """

    def __init__(
        self, state: type[Any], clients: range, dim: int, dtype: torch.dtype, device: str, experiment: bytes
    ) -> None:
        n = len(clients)
        self.state, self.clients = state, clients
        self.slots = {f.name: torch.zeros((2, n, dim), dtype=dtype, device=device) for f in fields(state)}
        self.current = torch.zeros(n, dtype=torch.int64, device=device)
        self.points = [Point.origin(experiment, i) for i in clients]
        self.staged: list[Point | None] = [None] * n
        self.seen = [0] * n

    def row(self, client: int) -> int:
        return self.clients.index(client)

    def settle(self, row: int, held: Point) -> bool:
        """Learn what the server holds: promote or drop what is staged. False where something is lacking."""
        staged, self.staged[row] = self.staged[row], None
        if staged == held:
            self.points[row] = held
            self.current[row] = 1 - self.current[row]
        elif self.points[row] != held:
            self.staged[row] = staged
            return False
        return True

    def read(self, rows: Tensor) -> Any:
        """The committed state of these rows (m,), as the method's state of (m, d) tensors."""
        return self.state(**{name: slot[self.current[rows], rows] for name, slot in self.slots.items()})

    def stage(self, rows: Tensor, state: Any, points: Sequence[Point]) -> None:
        """Keep the next state of these rows beside the committed one."""
        free = 1 - self.current[rows]
        for name, slot in self.slots.items():
            slot.index_put_((free, rows), getattr(state, name))
        for row, point in zip(rows.tolist(), points, strict=True):
            self.staged[row] = point
