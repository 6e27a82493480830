"""How far clients' gradients are from one another, which is what theory means by heterogeneity.

    zeta^2(x) = sum_i w_i |grad f_i(x) - grad f(x)|^2 = sum_i w_i |grad f_i(x)|^2 - |grad f(x)|^2

Reference: the bounded-dissimilarity assumption, as in Karimireddy et al., SCAFFOLD, ICML 2020, (A1) with B = 1; EF21
and its descendants converge without any bound on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fl_ef21.problems.around import Around
from fl_ef21.problems.sampled import EVALUATION, Sampled
from fl_ef21.types import Problem

MOST = 400  # clients whose gradients are taken; of more an even sample


def dissimilarity(problem: Problem, x: Tensor) -> tuple[float, float, int] | None:
    """zeta^2(x), |grad f(x)|^2, and of how many clients the first is an estimate; float64.

    None where the samples are not all here, or clients have none.
    """
    while isinstance(problem, Around):
        problem = problem.problem
    if not isinstance(problem, Sampled) or not bool((problem.sizes > 0).all()):
        return None
    y = x.to(problem.features.device, torch.float64)
    some = list(range(0, problem.clients, -(-problem.clients // MOST)))
    w = problem.weights[some] / problem.weights[some].sum()
    squares = sum(float(wi) * float(_gradient(problem, y, i).square().sum()) for wi, i in zip(w, some, strict=True))
    whole = float(problem.objective(x)[1].square().sum())
    return max(0.0, squares - whole), whole, len(some)


def _gradient(p: Sampled, y: Tensor, client: int) -> Tensor:
    """grad f_i(y), (d,) float64."""
    first, size = int(p.first[client]), int(p.sizes[client])
    step, found = max(1, EVALUATION // p.features[0].numel()), torch.zeros_like(y)
    for a in range(first, first + size, step):
        rows = slice(a, min(a + step, first + size))
        features = p.features[rows].to(torch.float64)
        share = torch.full((len(features),), 1.0 / size, dtype=torch.float64, device=y.device)
        found += p.model.weighted(y, features, p.labels[rows], share)[1]
    return found if p.regularizer is None else found + p.regularizer.gradient(y)
