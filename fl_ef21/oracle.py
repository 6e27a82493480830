"""What a client half that `asks` may ask of its clients' data, at the model they received.

Estimators that look at two points with one sample (STORM, PAGE, MARINA, DASHA), at all samples, or that steer their
local steps (SCAFFOLD, SCAFCOM, FedProx) cannot be written in terms of one stochastic gradient. Everything is a
function of (seed, client, round), so that the same question has the same answer whoever asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.facts import facts_of
from fl_ef21.problems import points
from fl_ef21.types import Problem, Vector


@dataclass(frozen=True, eq=False)
class Oracle:
    """Of n clients at once.

    Attributes:
      x: (d,), the model they received.
      told: (d,), the vector that the half's `hears` names; None where it names none.
      clients: (n,) int64, their ids.
      ratio: (n, 1), the problem's w_i over the method's: 1 but for methods that weigh clients by their smoothness.
    """

    problem: Problem
    x: Vector
    told: Vector | None
    clients: Tensor
    round: int
    seed: int
    ratio: Tensor

    @cached_property
    def q(self) -> Tensor:
        """(n, d) stochastic gradients at x; with local steps, their mean along the path that follows them."""
        return self.problem.gradients(self.x, self.clients, self.round)

    @property
    def here(self) -> Tensor:
        """(n, d), x for every client."""
        return self.x.expand(len(self.clients), -1)

    @property
    def heard(self) -> Vector:
        """(d,), what was sent along with the model. Raises: ValueError where the half `hears` nothing."""
        if self.told is None:
            raise ValueError("nothing is sent along with the model: the client half does not say what it hears")
        return self.told

    def at(self, y: Tensor) -> Tensor:
        """(n, d) stochastic gradients at y, (d,) or (n, d), on the samples of q's first step."""
        return points.at(self.problem, y, self.clients, self.round)

    def exact(self, y: Tensor) -> Tensor:
        """(n, d) grad f_i(y) over all samples of each client; y (d,) or (n, d)."""
        return points.exact(self.problem, y, self.clients)

    def along(self, shift: Tensor | float = 0.0, mu: float = 0.0) -> Tensor:
        """(n, d), the mean of the raw gradients q_k where local steps follow q_k + shift + mu (y_k - x)."""
        return points.along(self.problem, self.x, self.clients, self.round, shift, mu)

    def moved(self, shift: Tensor | float = 0.0, mu: float = 0.0) -> Tensor:
        """(n, d), where those local steps lead: (x - y_K) / (r K)."""
        return points.moved(self.problem, self.x, self.clients, self.round, shift, mu)

    def coin(self, p: float) -> Tensor:
        """(n, 1) bool, True with probability p, each client its own."""
        key = randomness.keys(self.seed, "coin", self.clients, self.round)
        return randomness.uniform(key, 1) < p

    def common(self, p: float) -> bool:
        """True with probability p, the same for all clients of the round."""
        key = randomness.key(self.seed, "common coin", round=self.round)
        return bool(randomness.uniform(key, 1) < p)


class Blank:
    """Answers zeros (1, 1) to everything, to find out which fields a state has."""

    x = heard = torch.zeros(1)
    q = here = torch.zeros(1, 1)
    ratio: ClassVar[Tensor] = torch.ones(1, 1)

    def at(self, y: Tensor) -> Tensor:
        return self.q

    exact = at

    def along(self, shift: Tensor | float = 0.0, mu: float = 0.0) -> Tensor:
        return self.q

    moved = along

    def coin(self, p: float) -> Tensor:
        return self.q > 1

    def common(self, p: float) -> bool:
        return False


def state_type(half: Any) -> type[Any]:
    """The class of a client half's state."""
    return type(half.start(Blank() if facts_of(half).asks else Blank.q))
