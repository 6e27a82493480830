"""The largest eigenvalue, in absolute value, of a symmetric operator that is only known by its products.

Reference: Lanczos' iteration with full reorthogonalisation: Golub, Van Loan. Matrix Computations, 10.3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fl_ef21 import randomness


def largest(product: Callable[[Tensor], Tensor], dim: int, steps: int = 60, tolerance: float = 1e-3) -> float:
    """max |lambda| of v -> product(v), (dim,) float64 to (dim,) float64, the residual added so that it errs upwards.

    It ends once the residual is below `tolerance` times the value, or after `steps` products.
    """
    v = randomness.normal(randomness.keys(0, "lanczos", torch.arange(1), 0), dim)[0]
    v = v / v.norm()
    basis, diagonal, beside = [v], list[float](), list[float]()
    value = residual = 0.0
    for _ in range(min(steps, dim)):
        w = product(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        Q = torch.stack(basis)
        for _ in range(2):  # once is not enough where a Ritz value has converged
            w = w - Q.T @ (Q @ w)
        rest = float(w.norm())
        T = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        if beside:
            off = torch.tensor(beside, dtype=torch.float64)
            T = T + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(T)
        top = int(values.abs().argmax())
        value, residual = abs(float(values[top])), rest * abs(float(vectors[-1, top]))
        if residual <= tolerance * value or rest <= 1e-14 * max(value, 1e-300):
            break
        beside.append(rest)
        basis.append(w / rest)
    return value + residual
