"""All the constants of a problem at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from fl_ef21.problems.dissimilarity import spread
from fl_ef21.theory.infimum import Infimum, infimum
from fl_ef21.theory.noise import Variance, path, variance
from fl_ef21.theory.smoothness import Smoothness, smoothness
from fl_ef21.threads import computing_with
from fl_ef21.types import Problem


@dataclass(frozen=True)
class Constants:
    """Attributes:
    smooth: L, L_i, L~; noise: sigma^2; least: f*.
    f0, gradient_sq: f and |grad f|^2 at x0.
    zeta_sq: sum_i w_i |grad f_i(x0) - grad f(x0)|^2, how far clients' gradients are from one another.
    largest: the largest |grad f| on the path of noise.py.
    clients, dim: n and d.
    """

    smooth: Smoothness
    noise: Variance
    least: Infimum
    f0: float
    gradient_sq: float
    zeta_sq: float
    largest: float
    clients: int
    dim: int

    @property
    def delta(self) -> float:
        """f(x0) - f*, >= 0."""
        return max(0.0, self.f0 - self.least.value)

    @property
    def sigma(self) -> float:
        """Of what a client computes, with the scenario's batch size."""
        return math.sqrt(self.noise.batch)

    @property
    def bound_on_gradients(self) -> float:
        """G with E|q|^2 <= G^2 for a single sample, as far as the path shows."""
        return math.sqrt(self.largest**2 + self.noise.single)


def constants(problem: Problem) -> Constants:
    """Computed on one thread, so that the last digits are the same whatever else the machine does.

    Raises: InputError that names data.source where some client's samples are not here.
    """
    with computing_with(1):
        return _computed(problem)


def _computed(problem: Problem) -> Constants:
    smooth, x0 = smoothness(problem), problem.x0().to(torch.float64)
    points = path(lambda x: problem.objective(x)[1], x0, 1 / smooth.L)
    f0, slope = problem.objective(x0)
    largest = max(float(problem.objective(y)[1].norm()) for y in points)
    return Constants(
        smooth, variance(problem, points), infimum(problem), f0, float(slope.square().sum()),
        spread(problem, x0)[0], largest, problem.clients, problem.dim,
    )  # fmt: skip
