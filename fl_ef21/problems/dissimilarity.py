"""How far clients' gradients are from one another, which is what theory means by heterogeneity.

    zeta^2(x) = sum_i w_i |grad f_i(x) - grad f(x)|^2 = sum_i w_i |grad f_i(x)|^2 - |grad f(x)|^2

Reference: the bounded-dissimilarity assumption, as in Karimireddy et al., SCAFFOLD, ICML 2020, (A1) with B = 1; EF21
and its descendants converge without any bound on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fl_ef21.problems.exact import core, gradient
from fl_ef21.problems.sampled import Sampled
from fl_ef21.types import Problem

MOST = 400  # clients whose gradients are taken; of more an even sample


def dissimilarity(problem: Problem, x: Tensor) -> tuple[float, float, int] | None:
    """As `spread`; None where the samples are not all here, or there are none."""
    problem = core(problem)
    if not isinstance(problem, Sampled) or not bool((problem.sizes > 0).all()):
        return None
    return spread(problem, x)


def spread(problem: Problem, x: Tensor) -> tuple[float, float, int]:
    """zeta^2(x), |grad f(x)|^2, and of how many clients the first is an estimate; float64.

    Raises: IndexError where a client's samples are not here.
    """
    y = x.to(torch.float64)
    some = list(range(0, problem.clients, -(-problem.clients // MOST)))
    w = problem.weights[some] / problem.weights[some].sum()
    squares = sum(float(wi) * float(gradient(problem, y, i).square().sum()) for wi, i in zip(w, some, strict=True))
    whole = float(problem.objective(x)[1].square().sum())
    return max(0.0, squares - whole), whole, len(some)
