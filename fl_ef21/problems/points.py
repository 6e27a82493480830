"""Gradients elsewhere than at the model a client received: at points of its own, over all its samples, along a path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fl_ef21.problems.around import Around
from fl_ef21.problems.local import Local
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.sampled import Sampled
from fl_ef21.types import Problem


def at(problem: Problem, y: Tensor, clients: Tensor, round: int) -> Tensor:
    """Stochastic gradients (n, d) at y, (d,) or (n, d), on the samples of the round's first local step."""
    q: Tensor = _inner(problem).gradients(y, clients, round)
    return q


def exact(problem: Problem, y: Tensor, clients: Tensor) -> Tensor:
    """grad f_i(y) (n, d) in the training dtype over all samples of each client; y (d,) or (n, d).

    Raises: TypeError for a problem that is none of the package's.
    """
    inner = _inner(problem)
    if not isinstance(inner, Sampled | Quadratic):
        raise TypeError(f"{type(inner).__name__} has no exact gradients of clients")
    return replace(inner, batch_size="full").gradients(y, clients, 0)


def along(
    problem: Problem, x: Tensor, clients: Tensor, round: int, shift: Tensor | float = 0.0, mu: float = 0.0
) -> Tensor:
    """The mean (n, d) of the raw stochastic gradients q_k on a corrected local path.

    y_0 = x,   y_{k+1} = y_k - r (q_k + shift + mu (y_k - x))       k = 0 .. K - 1

    shift (n, d), (d,) or a number. With one local step it is q_0.
    """
    local = _local(problem)
    return problem.gradients(x, clients, round) if local is None else local.path(x, clients, round, shift, mu)


def moved(
    problem: Problem, x: Tensor, clients: Tensor, round: int, shift: Tensor | float = 0.0, mu: float = 0.0
) -> Tensor:
    """(x - y_K) / (r K), (n, d), where that path leads: the mean of q_k + shift + mu (y_k - x)."""
    local = _local(problem)
    if local is None:
        return problem.gradients(x, clients, round) + shift
    return local.path(x, clients, round, shift, mu, moved=True)


def local_steps(problem: Problem) -> bool:
    """Whether some client makes more than one."""
    return _local(problem) is not None


def batches(problem: Problem) -> Tensor:
    """(clients,) float64: a pass over all of a client's samples, in the batches that a stochastic gradient takes."""
    inner = _inner(problem)
    if not isinstance(inner, Sampled):
        return torch.ones(problem.clients, dtype=torch.float64)
    return inner.sizes.cpu().to(torch.float64) / inner.costs


def _local(problem: Any) -> Local | None:
    """The wrapper that makes local steps, None where there is none."""
    if isinstance(problem, Local):
        return problem
    return _local(problem.problem) if isinstance(problem, Around) else None


def _inner(problem: Any) -> Any:
    while isinstance(problem, Around):
        problem = problem.problem
    return problem
