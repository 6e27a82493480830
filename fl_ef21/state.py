"""Where the state of clients lies: two slots a client, one committed and one staged.

Committing flips a bit, so no vector is ever copied for the protocol's sake.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
import torch

from fl_ef21.blocks import Array, Points
from fl_ef21.tiers import Resident, Tier, pieces

S = TypeVar("S")
MOMENTA = ("v", "u")  # fields that may be kept in fewer bits; rounding g or e would break what the server believes
ESTIMATES = (*MOMENTA, "h", "q")  # of a client's gradient, for which g stands in where they are lost


class Rows:
    """The state of the clients `clients` under one experiment.

    Attributes:
      slots: for each field of the method's state (2, n, d).
      current: (n,) int64, the slot that is committed.
      points, staged: what each client has committed, and computed but not committed.
      seen: (n,) int64, `blocks.order` of the last instruction followed.
    """

    def __init__(
        self, state: type[Any], clients: range, dim: int, dtype: torch.dtype, device: str, experiment: bytes,
        tier: Tier | None = None, momentum: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        """`tier`: where the slots lie, else on the device; `momentum`: what v and u are kept as, else dtype."""
        n = len(clients)
        self.state, self.clients, self.dim, self.dtype = state, clients, dim, dtype
        self.tier = tier or Resident(device)
        kept = {f.name: momentum if momentum and f.name in MOMENTA else dtype for f in fields(state)}
        self.slots = {name: self.tier.zeros((2, n, dim), kind) for name, kind in kept.items()}
        self.current, self.seen = np.zeros(n, np.int64), np.zeros(n, np.int64)
        self.points, self.staged = Points.origin(experiment, clients), Points.none(n)

    def rows(self, clients: Array) -> Array:
        """The rows (m,) of these clients."""
        return (clients.astype(np.int64) - self.clients.start) // self.clients.step

    def settle(self, rows: Array, version: Array, chain: Array) -> Array:
        """Learn what the server holds of these rows and promote what is staged, if it is that.

        version (m,) and chain (m, 2). Returns (m,), False where something is lacking. What is staged otherwise stays
        until the next `write`: a repeated instruction tells nothing of it.
        """
        ready = self.staged.equal(rows, version, chain)
        promoted = rows[ready]
        self.points.put(promoted, version[ready], chain[ready])
        self.staged.version[promoted] = -1
        self.current[promoted] = 1 - self.current[promoted]
        return self.points.equal(rows, version, chain)

    def read(self, rows: Array) -> Any:
        """The committed state of these rows, as the method's state of (m, d) tensors that nobody may change."""
        at = self._at(rows, self.current[rows])
        parts = {name: self.tier.fetch(slots[at]).to(self.dtype) for name, slots in self.slots.items()}
        self.used(rows)
        return self.state(**parts)

    def expect(self, rows: Array) -> None:
        """These rows, settled already, will be read next."""
        if self.tier.watches:
            at = self._at(rows, self.current[rows])
            together = isinstance(at[0], int)
            read = [slots[at] for slots in self.slots.values()] if together else []
            self.tier.need(read, pieces(self.slots, rows.tolist()))

    def used(self, rows: Array) -> None:
        """These rows were just read or written where they lie."""
        if self.tier.watches:
            self.tier.used(pieces(self.slots, rows.tolist()))

    def write(self, rows: Array, state: Any) -> None:
        """Put the next state of these rows beside the committed one; `stage` says what it is."""
        self.unstage(rows)
        at = self._at(rows, 1 - self.current[rows])
        for name, slots in self.slots.items():
            slots[at] = getattr(state, name).to(slots)
        self.used(rows)

    def unstage(self, rows: Array) -> None:
        """What lies beside the committed state of these rows is about to be overwritten."""
        self.staged.version[rows] = -1

    def stage(self, rows: Array, version: Array, chain: Array) -> None:
        """What was written for these rows is the state at these points, if the server comes to hold them."""
        self.staged.put(rows, version, chain)

    @staticmethod
    def _at(rows: Array, slot: Array) -> tuple[Any, Any]:
        """Slot and rows as an index; as a slice where rows follow one another in one slot: then nothing is gathered."""
        first, m = int(rows[0]), len(rows)
        if int(rows[-1]) - first == m - 1 and (np.diff(rows) == 1).all() and (slot == slot[0]).all():
            return int(slot[0]), slice(first, first + m)
        return torch.from_numpy(slot), torch.from_numpy(rows)
