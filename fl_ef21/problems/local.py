"""Local steps: what a client sends as its gradient is where several steps of its own lead.

    y_0 = x,   y_{k+1} = y_k - r grad f_i(y_k; xi_k)        k = 0 .. K - 1, r the local rate
    q = (x - y_K) / (r K)

Summed up, q = (1/K) sum_k grad f_i(y_k; xi_k), which is how it is computed: x - y_K would lose digits where r
is small. With K = 1 it is the stochastic gradient. The methods take q for their gradient; so do SCAFCOM (Huang,
Li, Li. Stochastic controlled averaging with compressed communication. ICLR 2024), which with K = 1 and everybody
asked is EF21-SGDM, and Fed-EF (Li, Li. Analysis of error feedback in federated non-convex optimization with
biased compression. ICML 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.problems.around import Around
from fl_ef21.problems.dealing import checked, dealt
from fl_ef21.types import Problem


class Stepped(Problem, Protocol):
    """A `Problem` whose clients can go on from points of their own."""

    def gradients(self, x: Tensor, clients: Tensor, round: int, step: int = 0) -> Tensor:
        """As a `Problem`'s, with the samples of a local step, and x (d,) or a point for every client, (n, d)."""
        ...

    def shard(self, clients: range) -> Stepped: ...


@dataclass(frozen=True, eq=False)
class Local(Around):
    """A `Problem`: another one whose clients make local steps.

    Attributes:
      steps: K, dealt to the clients in turn.
      rate: r > 0.
    """

    problem: Stepped
    steps: tuple[int, ...]
    rate: float

    @property
    def costs(self) -> Tensor:
        return self.problem.costs * dealt(self.steps, torch.arange(self.clients))

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        """See `Problem`."""
        return self.path(x, clients, round)

    def path(
        self, x: Tensor, clients: Tensor, round: int, shift: Tensor | float = 0.0, mu: float = 0.0, moved: bool = False
    ) -> Tensor:
        """The mean (n, d) of the gradients q_k where steps follow q_k + shift + mu (y_k - x): `points.along`.

        moved: the mean of what the steps follow, `points.moved`. Clients with fewer steps stop earlier; nobody's mean
        depends on who goes on.
        """
        q = self.problem.gradients(x, clients, round)
        K, who = dealt(self.steps, clients).to(q.device), torch.arange(len(clients), device=q.device)
        x, clients, total = x.to(q), clients.to(q.device), torch.zeros_like(q)
        y, free = x.expand_as(q), isinstance(shift, float) and shift == 0 and mu == 0
        for step in range(1, 1 + (int(K.max()) if len(K) else 1)):
            by = shift[who] if isinstance(shift, Tensor) and shift.ndim == 2 else shift
            followed = q if free else q + by + mu * (y - x)
            total.index_add_(0, who, followed if moved else q)
            on = K[who] > step
            if on.any():
                y, who = (y - self.rate * followed)[on], who[on]
                q = self.problem.gradients(y, clients[who], round, step)
        return total / K[:, None]

    def shard(self, clients: range) -> Local:
        return replace(self, problem=self.problem.shard(clients))


def stepping(problem: Stepped, steps: int | Sequence[int], rate: float | None) -> Problem:
    """The problem with so many local steps; itself where everybody makes one.

    Raises: InputError that names train.local_steps or train.local_rate.
    """
    K = checked("train.local_steps", steps, _at_least_one)
    if K == 1:
        if rate is not None:
            raise InputError("train.local_rate", rate, "has no meaning where local_steps is 1; remove it")
        return problem
    if rate is None:
        raise InputError("train.local_rate", None, "is missing; local_steps needs it, such as local_rate = 0.05")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
        raise InputError("train.local_rate", rate, "must be a number > 0")
    return Local(problem, K if isinstance(K, tuple) else (K,), float(rate))


def _at_least_one(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(field, value, "must be a whole number >= 1")
