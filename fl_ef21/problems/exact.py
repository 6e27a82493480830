"""Full gradients of single clients in float64: what theory speaks of, and no client computes in training."""

from __future__ import annotations

import torch
from torch import Tensor

from fl_ef21.problems.around import Around
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.sampled import EVALUATION, Sampled
from fl_ef21.types import Problem


def core(problem: Problem) -> Problem:
    """The problem itself, without local steps and attackers around it."""
    while isinstance(problem, Around):
        problem = problem.problem
    return problem


def gradient(problem: Problem, y: Tensor, client: int) -> Tensor:
    """grad f_i(y), (d,) float64, over all samples of the client; y (d,).

    Raises: IndexError where the client's samples are not here.
    """
    problem = core(problem)
    if isinstance(problem, Sampled):
        return _sampled(problem, y.to(problem.features.device, torch.float64), client)
    if isinstance(problem, Quadratic):
        if client not in problem.held:
            raise IndexError(f"client {client} is not in this shard")
        return problem.H * (y.to(problem.H) - problem.b[problem.held.index(client)])
    raise TypeError(f"{type(problem).__name__} has no gradients of single clients")


def _sampled(p: Sampled, y: Tensor, client: int) -> Tensor:
    first, size = int(p.first[client]), int(p.sizes[client])
    if not size:
        raise IndexError(f"client {client} is not in this shard")
    step, found = max(1, EVALUATION // p.features[0].numel()), torch.zeros_like(y)
    for a in range(first, first + size, step):
        rows = slice(a, min(a + step, first + size))
        features = p.features[rows].to(torch.float64)
        share = torch.full((len(features),), 1.0 / size, dtype=torch.float64, device=y.device)
        found += p.model.weighted(y, features, p.labels[rows], share)[1]
    return found if p.regularizer is None else found + p.regularizer.gradient(y)
