"""What clients can tell of the EF21-SGDM paper's Lyapunov function, at the model x that they received last.

    Lambda = f(x) - f* + gamma/alpha G + gamma eta/alpha^2 P + gamma/eta Q
    G = sum_i w_i |g_i - v_i|^2              what compression leaves out
    P = sum_i w_i |v_i - grad f_i(x)|^2      how far momenta are from the clients' gradients
    Q = |sum_i w_i v_i - grad f(x)|^2        how far their mean is from the whole gradient

Who has two momenta compresses u - g: for them G is of u. Who has none has v_i = q_i, its stochastic gradient.
Where weights w_i are not the problem's p_i, v_i and grad f_i stand for p_i / w_i times themselves.

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array

_NUMBER = np.dtype("<f8")


@dataclass(frozen=True, eq=False)
class Errors:
    """Attributes:
    compression, momentum: G and P.
    v: (d,) float64, sum_i w_i v_i.
    """

    compression: float
    momentum: float
    v: Tensor


def pack(v: Tensor, followed: Tensor, g: Tensor, exact: Tensor) -> list[bytes]:
    """A payload for each client, from its v, the vector its g follows, its g and grad f_i, all (n, d)."""
    v, g, exact = (one.to("cpu", torch.float64) for one in (v, g, exact))
    apart = (g - followed.to(g)).square().sum(dim=1, keepdim=True)
    away = (v - exact).square().sum(dim=1, keepdim=True)
    table: Array = torch.cat([apart, away, v], dim=1).numpy()
    return [row.astype(_NUMBER).tobytes() for row in table]


def total(payloads: Sequence[bytes], weights: Tensor, dim: int) -> Errors | None:
    """The sums over clients of these weights (n,); None where one did not tell."""
    if any(len(payload) != (2 + dim) * _NUMBER.itemsize for payload in payloads):
        return None
    table = torch.from_numpy(np.frombuffer(b"".join(payloads), _NUMBER).reshape(len(payloads), 2 + dim).copy())
    sums = weights.to(torch.float64) @ table
    return Errors(float(sums[0]), float(sums[1]), sums[2:])


def lyapunov(gap: float, errors: Errors, apart: float, gamma: float, eta: float, alpha: float) -> float:
    """Lambda; gap is f(x) - f*, apart is Q."""
    return gap + gamma / alpha * errors.compression + gamma * eta / alpha**2 * errors.momentum + gamma / eta * apart
