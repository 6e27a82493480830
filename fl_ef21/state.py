"""Where the state of clients lies: two slots a client, one committed and one staged.

Committing flips a bit, so no vector is ever copied for the protocol's sake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch

from fl_ef21.commit import Point
from fl_ef21.tiers import Resident, Tier, pieces

S = TypeVar("S")
MOMENTA = ("v", "u")  # fields that may be kept in fewer bits; rounding g or e would break what the server believes


class Rows:
    """The state of the clients `clients` under one experiment.

    Attributes:
      slots: for each field of the method's state (2, n, d).
      current: the slot that is committed, for each client.
      points, staged: what each client has committed, and computed but not committed.
      seen: the last sequence number followed.
    """

    def __init__(
        self, state: type[Any], clients: range, dim: int, dtype: torch.dtype, device: str, experiment: bytes,
        tier: Tier | None = None, momentum: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        """`tier`: where the slots lie, else on the device; `momentum`: what v and u are kept as, else dtype."""
        n = len(clients)
        self.state, self.clients, self.dtype = state, clients, dtype
        self.tier = tier or Resident(device)
        kept = {f.name: momentum if momentum and f.name in MOMENTA else dtype for f in fields(state)}
        self.slots = {name: self.tier.zeros((2, n, dim), kind) for name, kind in kept.items()}
        self.current = [0] * n
        self.points = [Point.origin(experiment, i) for i in clients]
        self.staged: list[Point | None] = [None] * n
        self.seen = [0] * n

    def row(self, client: int) -> int:
        return self.clients.index(client)

    def settle(self, row: int, held: Point) -> bool:
        """Learn what the server holds and promote what is staged, if it is that. False where something is lacking.

        What is staged otherwise stays until the next `write`: a repeated instruction tells nothing of it.
        """
        if self.staged[row] == held:
            self.staged[row] = None
            self.points[row] = held
            self.current[row] = 1 - self.current[row]
        return self.points[row] == held

    def read(self, rows: Sequence[int]) -> Any:
        """The committed state of these rows, as the method's state of (m, d) tensors that nobody may change."""
        run, slot = self._run(rows), self.current[rows[0]]
        if run is not None and all(self.current[row] == slot for row in rows):
            parts = {name: slots[slot, run] for name, slots in self.slots.items()}
        else:
            which = [self.current[row] for row in rows]
            parts = {name: slots[which, rows] for name, slots in self.slots.items()}
        state = self.state(**{name: self.tier.fetch(part).to(self.dtype) for name, part in parts.items()})
        if self.tier.watches:
            self.tier.used(pieces(self.slots, rows))
        return state

    def expect(self, rows: Sequence[int]) -> None:
        """These rows will be read next, most likely with what is staged committed."""
        if self.tier.watches:
            run, slots = self._run(rows), {self.current[row] ^ (self.staged[row] is not None) for row in rows}
            slot, whole = min(slots), run is not None and len(slots) == 1
            read = [field[slot, run] for field in self.slots.values()] if whole else []
            self.tier.need(read, pieces(self.slots, rows))

    def write(self, rows: Sequence[int], state: Any) -> None:
        """Put the next state of these rows beside the committed one; `stage` says what it is."""
        run, slot = self._run(rows), 1 - self.current[rows[0]]
        together = run is not None and all(1 - self.current[row] == slot for row in rows)
        for name, slots in self.slots.items():
            if together:
                slots[slot, run] = getattr(state, name)
            else:
                slots[[1 - self.current[row] for row in rows], rows] = getattr(state, name).to(slots)
        if self.tier.watches:
            self.tier.used(pieces(self.slots, rows))
        for row in rows:
            self.staged[row] = None

    def stage(self, row: int, point: Point) -> None:
        """What was written for this row is the state at `point`, if the server comes to hold it."""
        self.staged[row] = point

    @staticmethod
    def _run(rows: Sequence[int]) -> slice | None:
        """The rows as a slice, where they follow one another: then no vector is gathered."""
        first = rows[0]
        return slice(first, first + len(rows)) if list(rows) == list(range(first, first + len(rows))) else None
