"""What the server holds of every client, row by row, and the aggregate of the rows.

g_i <- g_i + c_i               in the clients' dtype, so bitwise as each client has it
g   <- Agg(g_1, ..., g_n)      of the clients that are there, weighted by w_i over their sum
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.blocks import Array
from fl_ef21.messages import Compressed
from fl_ef21.replay import Forms
from strategies.robust_named import Aggregate
from strategies.rounds import groups


class Rows:
    """Rows of which few numbers change in a round: a coordinatewise rule is asked again about those columns only.

    Attributes:
      aggregate: the rule.
      G: (n, d), changed in place; nobody else may hold it.
    """

    def __init__(self, aggregate: Aggregate, G: Tensor) -> None:
        self.aggregate, self.G = aggregate, G
        self._value = torch.zeros(G.shape[1], dtype=torch.float64)
        self._stale = torch.ones(G.shape[1], dtype=torch.bool)
        self._weights = torch.empty(0, dtype=torch.float64)

    @classmethod
    def empty(cls, aggregate: Aggregate, clients: int, dim: int, dtype: torch.dtype) -> Rows:
        """Everybody at zero."""
        return cls(aggregate, torch.zeros(clients, dim, dtype=dtype))

    def add(self, clients: Array, c: Compressed) -> None:
        """One message each of these clients (m,), who are distinct."""
        rows, value = torch.from_numpy(clients), c.values.real(c.counts).to(self.G.dtype)
        index = c.support.index(c.counts, c.dim)
        if index is None:
            self.G[rows] += value.reshape(len(c), c.dim)
            self._stale[:] = True
        else:
            self.G.view(-1)[rows.repeat_interleave(c.counts) * c.dim + index] += value
            self._stale[index] = True

    def take(self, clients: Array, versions: Array, payloads: Sequence[bytes], forms: Forms) -> None:
        """As `add`, of payloads that were accepted; each leads on from its client's version (m,)."""
        first = forms.whole(versions, payloads)
        for some, spec in ((first, forms.first), (~first, forms.other)):
            for part in groups(np.flatnonzero(some), spec.most):
                c, _ = wire.decode([payloads[at] for at in part.tolist()], spec)
                self.add(clients[part], c if forms.adds == 1 else forms.adds * c)

    def g(self, client: int) -> Tensor:
        """(d,), what the server holds of this client."""
        return self.G[client]

    def clear(self, client: int) -> None:
        """It has left; if it comes back it begins at zero."""
        self.G[client] = 0
        self._stale[:] = True

    def value(self, weights: Tensor, round: int) -> Tensor:
        """g (d,) float64. weights (n,) float64, zero of those who are not there."""
        there = weights > 0
        w = weights[there] / weights[there].sum()
        if not self.aggregate.coordinatewise or not torch.equal(weights, self._weights):
            self._stale[:] = True
        columns, G = self._stale.nonzero()[:, 0], self.G if bool(there.all()) else self.G[there]
        if len(columns) == self.G.shape[1]:
            self._value = self.aggregate(G, w, round)
        elif len(columns):
            self._value = self._value.index_copy(0, columns, self.aggregate(G[:, columns], w, round))
        self._stale[:], self._weights = False, weights.clone()
        return self._value

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything, for `restore`."""
        return {"G": self.G}, {}

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
        self.G = tensors["G"].clone()
        self._stale[:] = True
