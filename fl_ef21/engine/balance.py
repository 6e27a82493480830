"""Moves clients of an ordinary ClientApp between shards, so that no shard waits long for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

UNEVEN = 1.3  # the most loaded shard over the mean, above which moving is thought of
EVEN = 1.05  # and at which enough was moved
ROUNDS = 3  # for so many measurements in a row
AHEAD = 10  # moving must pay within so many rounds
Moves = dict[tuple[int, int], list[int]]  # from shard, to shard: clients


class Balance:
    """What clients cost, and where they should be. Knows no clock: it is told seconds.

    Attributes:
      home: the shard of each client; the caller changes it.
      price: seconds the last moving took, a guess before the first.
    """

    def __init__(self, home: list[int], shards: int) -> None:
        self.home, self.shards, self.price = home, shards, 0.05
        self._messages, self._seconds = np.zeros(len(home)), np.zeros(len(home))
        self._uneven = 0

    def note(self, spent: Sequence[Mapping[int, tuple[int, float]]]) -> None:
        """A measurement: messages and seconds of each client that was busy since the last one. Old ones fade."""
        self._messages *= 0.5
        self._seconds *= 0.5
        for one in spent:
            for client, (messages, seconds) in one.items():
                self._messages[client] += messages
                self._seconds[client] += seconds
        loads = self.loads(self.costs())
        self._uneven = self._uneven + 1 if loads.max() > UNEVEN * loads.mean() > 0 else 0

    def costs(self) -> np.ndarray:
        """(clients,) seconds per message; a client that was never measured counts as the mean of the others."""
        known = self._messages > 0
        cost = np.zeros(len(self.home))
        np.divide(self._seconds, self._messages, out=cost, where=known)
        cost[~known] = cost[known].mean() if known.any() else 0
        return cost

    def loads(self, costs: np.ndarray) -> np.ndarray:
        """(shards,) seconds of one message to everybody."""
        return np.bincount(self.home, weights=costs, minlength=self.shards)

    def moves(self, living: Sequence[int]) -> Moves:
        """What to move now between the shards that live: nothing unless they were uneven for several
        measurements in a row, and the seconds saved are worth it."""
        if self._uneven < ROUNDS or len(living) < 2:
            return {}
        costs = self.costs()
        moves, saved = _even_out(costs, self.home, self.loads(costs), list(living))
        if saved * AHEAD < self.price:
            return {}
        self._uneven = 0
        return moves


def _even_out(costs: np.ndarray, home: Sequence[int], loads: np.ndarray, living: list[int]) -> tuple[Moves, float]:
    """Moves from the fullest to the emptiest shard, each client at most once, and the seconds saved."""
    at, free = np.array(home), np.ones(len(home), dtype=bool)
    before, moves = loads[living].max(), Moves()
    while loads[living].max() > EVEN * loads[living].mean():
        a, b = living[int(loads[living].argmax())], living[int(loads[living].argmin())]
        gap = loads[a] - loads[b]
        able = np.flatnonzero((at == a) & free & (costs > 0) & (costs < gap))
        if len(able) == 0:
            break
        client = int(able[np.abs(costs[able] - gap / 2).argmin()])
        moves.setdefault((a, b), []).append(client)
        at[client], free[client] = b, False
        loads[a] -= costs[client]
        loads[b] += costs[client]
    return moves, float(before - loads[living].max())
