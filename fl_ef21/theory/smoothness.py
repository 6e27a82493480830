"""How fast gradients change: |grad f_i(x) - grad f_i(y)| <= L_i |x - y|.

    L       of f = sum_i w_i f_i
    L_i     of each client's f_i
    tilde   sqrt(sum_i w_i L_i^2), L~ of the EF21 papers, which is at least L where L is as tight as the L_i

    quadratics              exact: the largest eigenvalue of H
    softmax regression      a bound that holds everywhere: the Hessian of log-sum-exp is at most 1/2, so
                            L_i = 1/2 lambda_max(A_i^T A_i) / m_i, with a column of ones for a bias
    anything else           an estimate, good near one point only: the largest |eigenvalue| of the Hessian there, its
                            products taken by central differences of the full gradient

Regularisers are added: lam of lam/2 |x|^2, 2 lam of lam sum_j x_j^2 / (1 + x_j^2), whose curvature is greatest at 0.

Reference for 1/2: Boehning. Multinomial logistic regression algorithm. Ann. Inst. Stat. Math. 44, 1992 [recalled; the
tests compare it with Hessians].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.problems.exact import core, gradient
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.regularizers import L2, Nonconvex, Regularizer
from fl_ef21.problems.sampled import Sampled
from fl_ef21.problems.softmax import Softmax
from fl_ef21.theory.lanczos import largest
from fl_ef21.threads import computing_with
from fl_ef21.types import Problem

MOST = 16  # clients of whom Hessians are looked at where nothing is known in closed form
_DENSE = 1024  # up to this many rows or columns the eigenvalues of a Gram matrix are taken as they are
_APART = 1e-4  # |h v| of the central differences, by 1 + |x|


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Attributes:
    L: of f; each: (n,) float64, the L_i; tilde: L~; mean: sum_i w_i L_i, L_AM of Error Feedback Reloaded.
    kind: "exact", "bound" (holds everywhere, may be larger than needed) or "estimate" (holds near a point).
    seen: how many clients' L_i were looked at; the others are given the root mean square of those.
    """

    L: float
    each: Tensor
    tilde: float
    mean: float
    kind: str
    seen: int


_AT_X0: WeakKeyDictionary[Any, Smoothness] = WeakKeyDictionary()


def smoothness(problem: Problem, at: Tensor | None = None) -> Smoothness:
    """The constants of a problem whose clients' samples are all here; at x0 they are computed once.

    at: (d,), where the Hessian is looked at if there is no closed form; x0 by default. One thread computes, so that
    whoever computes weights from them has the same to the last digit.

    Raises: InputError that names data.source where samples lie elsewhere.
    """
    problem = core(problem)
    if at is None and problem in _AT_X0:
        return _AT_X0[problem]
    with computing_with(1):
        found = _computed(problem, at)
    if at is None:
        _AT_X0[problem] = found
    return found


def _computed(problem: Problem, at: Tensor | None) -> Smoothness:
    if isinstance(problem, Quadratic):
        top = float(problem.H.max())
        return _of(problem, torch.full((problem.clients,), top, dtype=torch.float64), top, "exact", problem.clients)
    if not isinstance(problem, Sampled) or not bool((problem.sizes > 0).all()):
        raise InputError("data.source", None, "theory needs every client's samples here, as a simulation has them")
    if isinstance(problem.model, Softmax):
        return _softmax(problem, problem.model)
    return _hessians(problem, problem.x0() if at is None else at)


def _of(problem: Problem, each: Tensor, L: float, kind: str, seen: int) -> Smoothness:
    w = problem.weights.cpu()
    return Smoothness(L, each, math.sqrt(float((w * each.square()).sum())), float((w * each).sum()), kind, seen)


def _softmax(p: Sampled, model: Softmax) -> Smoothness:
    """1/2 lambda_max of A^T diag(s) A, with s = 1 / m_i for a client and w_i / m_i for f."""
    r, sizes, w = _curvature(p.regularizer), p.sizes.tolist(), p.weights.tolist()
    each = torch.empty(p.clients, dtype=torch.float64)
    for i, (first, size) in enumerate(zip(p.first.tolist(), sizes, strict=True)):
        s = torch.full((size,), 1 / size, dtype=torch.float64)
        each[i] = 0.5 * _gram(p.features[first : first + size], s, model.bias) + r
    s = torch.repeat_interleave(
        torch.tensor([a / m for a, m in zip(w, sizes, strict=True)], dtype=torch.float64), p.sizes.cpu()
    )
    return _of(p, each, 0.5 * _gram(p.features, s, model.bias) + r, "bound", p.clients)


def _gram(features: Tensor, s: Tensor, bias: bool) -> float:
    """lambda_max of A^T diag(s) A for the rows A (m, p) of features (m, *shape)."""
    m, width = len(features), math.prod(features.shape[1:]) + bias
    s = s.to(features.device)
    if m <= min(width, _DENSE):
        A = _rows(features, bias) * s.sqrt()[:, None]
        return float(torch.linalg.eigvalsh(A @ A.T)[-1])
    if width <= _DENSE:
        total = torch.zeros(width, width, dtype=torch.float64, device=features.device)
        for a in range(0, m, 4096):
            A = _rows(features[a : a + 4096], bias)
            total.addmm_((A * s[a : a + 4096, None]).T, A)
        return float(torch.linalg.eigvalsh(total)[-1])

    def product(v: Tensor) -> Tensor:
        v, found = v.to(features.device), torch.zeros(width, dtype=torch.float64, device=features.device)
        for a in range(0, m, 4096):
            A = _rows(features[a : a + 4096], bias)
            found += A.T @ (s[a : a + 4096] * (A @ v))
        return found.cpu()

    return largest(product, width)


def _rows(features: Tensor, bias: bool) -> Tensor:
    """(m, p) float64, with a column of ones for a bias."""
    A = features.flatten(1).to(torch.float64)
    return torch.cat([A, A.new_ones(len(A), 1)], dim=1) if bias else A


def _curvature(r: Regularizer | None) -> float:
    """The largest |second derivative| of a regulariser."""
    if r is None:
        return 0.0
    if isinstance(r, L2):
        return r.lam
    if isinstance(r, Nonconvex):
        return 2 * r.lam
    raise TypeError(f"the curvature of {type(r).__name__} is not known")


def _hessians(p: Sampled, at: Tensor) -> Smoothness:
    some = list(range(0, p.clients, -(-p.clients // MOST)))
    y = at.to(torch.float64)
    seen = [_top(lambda z, i=i: gradient(p, z, i), y) for i in some]  # type: ignore[misc]
    found = torch.tensor(seen, dtype=torch.float64)
    each = torch.full((p.clients,), float(found.square().mean().sqrt()), dtype=torch.float64)
    each[some] = found
    return _of(p, each, _top(lambda z: p.objective(z)[1], y), "estimate", len(some))


def _top(slope: Callable[[Tensor], Tensor], y: Tensor) -> float:
    """The largest |eigenvalue| at y of the Hessian whose gradient is `slope`."""
    h = _APART * (1 + float(y.norm()))

    def product(v: Tensor) -> Tensor:
        return (slope(y + h * v).cpu() - slope(y - h * v).cpu()) / (2 * h)

    return largest(product, len(y), steps=30, tolerance=1e-2)
