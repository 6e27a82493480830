"""The methods written from the paper in NumPy, float64, with no line of the package.

    x^{t+1} = x^t - gamma g^t, then every client answers at x^{t+1}: METHODS, Algorithm 1 and its table.

A run is x^0, x^1, ..., x^T and the server's g before each step. `grad(i, x, t)` is client i's gradient
for step t. `start` gives v = g = grad at x^0, sent whole; without it all states are zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Gradient = Callable[[int, Vector, int], Vector]
Compress = Callable[[Vector], Vector]


def topk(k: int) -> Compress:
    """The k largest magnitudes, ties to the lower index."""

    def compress(u: Vector) -> Vector:
        keep = np.argsort(-np.abs(u), kind="stable")[:k]
        out = np.zeros_like(u)
        out[keep] = u[keep]
        return out

    return compress


def identity(u: Vector) -> Vector:
    return u.copy()


def run(
    method: str, grad: Gradient, x0: Vector, n: int, steps: int, gamma: Callable[[int], float],
    eta: Callable[[int], float], C: Compress, start: bool,
) -> tuple[list[Vector], list[Vector]]:  # fmt: skip
    """All iterates x^0 .. x^T and the g of each step; gamma(t), eta(t) for step t = 1 .. T."""
    x, xs, gs = x0.copy(), [x0.copy()], []
    d = len(x0)
    v, u, g, e = (np.zeros((n, d)) for _ in range(4))
    for t in range(1, steps + 1):
        q = np.array([grad(i, x, t) for i in range(n)])
        first = t == 1 and start
        b = 1.0 if first else eta(t)
        if method == "sgdm":
            v = (1 - b) * v + b * q
            direction = v.mean(axis=0)
        elif method == "compressed-sgd":
            direction = np.array([C(q[i]) for i in range(n)]).mean(axis=0)
        elif method == "ef14":
            sent = np.array([C(e[i] + gamma(t) * q[i]) for i in range(n)])
            e = e + gamma(t) * q - sent
            direction = sent.mean(axis=0) / gamma(t)
        else:
            v = (1 - b) * v + b * q if method != "ef21-sgd" else q
            u = (1 - b) * u + b * v if method == "ef21-sgd2m" else v
            g = u.copy() if first else np.array([g[i] + C(u[i] - g[i]) for i in range(n)])
            direction = g.mean(axis=0)
        gs.append(direction)
        x = x - gamma(t) * direction
        xs.append(x.copy())
    return xs, gs
