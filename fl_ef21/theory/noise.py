"""How noisy stochastic gradients are: sigma^2 of E|q_i - grad f_i|^2 <= sigma^2.

At a point x, with B samples drawn with replacement, client i's gradient has variance var_i(x) / B, where

    var_i(x) = (1/m_i) sum_k |grad l_k(x)|^2 - |(1/m_i) sum_k grad l_k(x)|^2       over its own samples l_k

and nothing with batch_size = "full". The theorems want one sigma^2 for all points and clients. What is computed here is
the mean over clients, sum_i w_i var_i(x) / B_i, at the points of a short path of gradient descent from x0, of which the
largest counts. Known noise is exact: sigma^2 / B everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.problems.dealing import dealt
from fl_ef21.problems.exact import core, gradient
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.sampled import Sampled, draws
from fl_ef21.problems.softmax import Softmax
from fl_ef21.types import Problem

PATH = (0, 1, 3, 10)  # steps of gradient descent after which noise is looked at
MOST = 64  # clients looked at where every sample needs a gradient of its own; of more an even sample
_SAMPLES = 64  # of a client, likewise
_NUMBERS = 1 << 22  # of gradients of single samples that exist at once


@dataclass(frozen=True)
class Variance:
    """Attributes:
    single: sigma^2 of one sample; batch: of what a client computes, with the scenario's batch size.
    pooled: sum_i w_i^2 var_i / B_i, the variance of the mean of everybody's gradient.
    exact: whether it holds everywhere, as known noise does; else it is the largest seen on the path.
    """

    single: float
    batch: float
    pooled: float
    exact: bool


def path(slope: Callable[[Tensor], Tensor], x0: Tensor, step: float) -> list[Tensor]:
    """Points (d,) float64 after PATH steps of gradient descent from x0; it ends before one that is not finite."""
    x, found = x0.to(torch.float64), list[Tensor]()
    for t in range(PATH[-1] + 1):
        if not bool(torch.isfinite(x).all()):
            break
        if t in PATH:
            found.append(x)
        if t < PATH[-1]:
            x = x - step * slope(x)
    return found


def variance(problem: Problem, points: list[Tensor]) -> Variance:
    """The largest over these points (d,)."""
    problem = core(problem)
    n, w = problem.clients, problem.weights.cpu()
    if isinstance(problem, Quadratic):
        sigma = getattr(problem.noise, "sigma", 0.0)  # without noise there is none
        var = torch.full((n,), sigma**2, dtype=torch.float64)
        return _of(var, w, _batches(problem.batch_size, n), exact=True)
    if not isinstance(problem, Sampled):
        raise TypeError(f"{type(problem).__name__} has no known noise")
    batches = _batches(problem.batch_size, n)
    seen = [_of(_each(problem, y), w, batches, exact=False) for y in points]
    single, batch, pooled = (max(getattr(one, name) for one in seen) for name in ("single", "batch", "pooled"))
    return Variance(single, batch, pooled, exact=False)


def _batches(batch_size: object, n: int) -> Tensor:
    """(n,) float64, infinite for "full"."""
    B = dealt(draws(batch_size), torch.arange(n)).to(torch.float64)  # type: ignore[arg-type]
    return torch.where(B == 0, torch.inf, B)


def _of(var: Tensor, w: Tensor, B: Tensor, exact: bool) -> Variance:
    single, batch, pooled = (w * var).sum(), (w * var / B).sum(), (w.square() * var / B).sum()
    return Variance(float(single), float(batch), float(pooled), exact)


def _each(p: Sampled, y: Tensor) -> Tensor:
    """var_i(y), (n,) float64; clients that were not looked at are given the mean of those that were."""
    if isinstance(p.model, Softmax):
        return torch.tensor([_softmax(p, p.model, y, i) for i in range(p.clients)], dtype=torch.float64)
    some = list(range(0, p.clients, -(-p.clients // MOST)))
    seen = torch.tensor([_apart(p, y, i) for i in some], dtype=torch.float64)
    found = torch.full((p.clients,), float(seen.mean()), dtype=torch.float64)
    found[some] = seen
    return found


def _softmax(p: Sampled, model: Softmax, y: Tensor, client: int) -> float:
    """In closed form, as the gradient of a sample is the outer product of its residual and its features."""
    rows = slice(int(p.first[client]), int(p.first[client]) + int(p.sizes[client]))
    A, labels = p.features[rows].flatten(1).to(torch.float64), p.labels[rows]
    size = model.classes * model.features
    outputs = A @ y[:size].to(A).view(model.classes, -1).T + (y[size:].to(A) if model.bias else 0.0)
    R = torch.softmax(outputs, dim=1)
    R[torch.arange(len(A)), labels] -= 1
    squares = R.square().sum(dim=1) * (A.square().sum(dim=1) + model.bias)
    mean = gradient(p, y, client)
    mean = mean if p.regularizer is None else mean - p.regularizer.gradient(y.to(mean))
    return max(0.0, float(squares.mean() - mean.square().sum()))


def _apart(p: Sampled, y: Tensor, client: int) -> float:
    """From the gradients of single samples, at most `_SAMPLES` of them, evenly taken."""
    first, size = int(p.first[client]), int(p.sizes[client])
    ids = torch.arange(first, first + size, -(-size // _SAMPLES), device=p.features.device)[:, None]
    at, rows = y.to(p.features), max(1, _NUMBERS // p.dim)
    total, squares = torch.zeros(p.dim, dtype=torch.float64), 0.0
    for some in torch.split(ids, rows):
        g = p.model.gradients(at, p.features, p.labels, some).to("cpu", torch.float64)
        total, squares = total + g.sum(dim=0), squares + float(g.square().sum())
    m = len(ids)
    mean = max(0.0, squares / m - float((total / m).square().sum()))
    return mean if m == size or m == 1 else mean * m / (m - 1) * (1 - 1 / size)
