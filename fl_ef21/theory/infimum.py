"""f*, below which f never falls, for f(x0) - f* of the theorems.

quadratics                              exact: f at the weighted mean of the b_i
softmax regression, convex              what L-BFGS reaches, less |grad f|^2 / (2 mu) where the regulariser makes f
                                        mu-strongly convex; without one it is from above
anything else                           0: losses and regularisers are not negative
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.problems.exact import core
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.regularizers import L2
from fl_ef21.problems.sampled import Sampled
from fl_ef21.problems.softmax import Softmax
from fl_ef21.types import Problem

ITERATIONS = 40


@dataclass(frozen=True)
class Infimum:
    """Attributes:
    value: f*.
    kind: "exact", "bound" (f* is not below it) or "reached" (f is this at some point; f* may be a little below).
    """

    value: float
    kind: str


def infimum(problem: Problem) -> Infimum:
    """f* of a problem whose clients' samples are all here."""
    inner = core(problem)
    if isinstance(inner, Quadratic):
        u = (inner.weights[:, None].to(inner.b) * inner.b).sum(dim=0)
        return Infimum(inner.objective(u)[0], "exact")
    if isinstance(inner, Sampled) and isinstance(inner.model, Softmax) and isinstance(inner.regularizer, L2 | None):
        f, g = _descended(inner)
        mu = 0.0 if inner.regularizer is None else inner.regularizer.lam
        return Infimum(max(0.0, f - float(g.square().sum()) / (2 * mu)), "bound") if mu else Infimum(f, "reached")
    return Infimum(0.0, "bound")


def _descended(p: Sampled) -> tuple[float, Tensor]:
    """f and its gradient where L-BFGS ends."""
    x = p.x0().to(torch.float64)
    solver = torch.optim.LBFGS([x], max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe",
                               tolerance_grad=1e-9, tolerance_change=1e-14)  # fmt: skip

    def closure() -> float:
        value, x.grad = p.objective(x)
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    return p.objective(x)
