"""A problem around another one: what a wrapper does not change, it passes on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fl_ef21.types import Problem


@dataclass(frozen=True, eq=False)
class Around:
    """A `Problem` but for its gradients and its shards."""

    problem: Problem

    @property
    def dim(self) -> int:
        return self.problem.dim

    @property
    def shapes(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return self.problem.shapes

    @property
    def clients(self) -> int:
        return self.problem.clients

    @property
    def weights(self) -> Tensor:
        return self.problem.weights

    @property
    def costs(self) -> Tensor:
        return self.problem.costs

    @property
    def rowwise(self) -> bool:
        return self.problem.rowwise

    def x0(self) -> Tensor:
        return self.problem.x0()

    def objective(self, x: Tensor) -> tuple[float, Tensor]:
        return self.problem.objective(x)

    def accuracy(self, x: Tensor) -> float | None:
        return self.problem.accuracy(x)

    def sums(self, x: Tensor, clients: Tensor) -> Tensor:
        return self.problem.sums(x, clients)
