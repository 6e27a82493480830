"""The paper's own methods as rules: Algorithm 1 of the EF21-SGDM paper and its double-momentum version."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.oracles.given import Case, Given, Vector


def ef21(momenta: int) -> Callable[[Given], list[Vector]]:
    """EF21-SGDM with that many momenta one after another: 1 is EF21-SGDM, 2 is EF21-SGD2M, 0 is EF21-SGD."""

    def rule(o: Given) -> list[Vector]:
        x, xs = o.x0.copy(), [o.x0.copy()]
        v, g = np.zeros((max(1, momenta), o.n, len(x))), np.zeros((o.n, len(x)))
        for t in range(1, o.steps + 1):
            for i in o.who(t):
                q = o.q(i, x, t)
                if o.first(t):
                    v[:, i], g[i] = q, q
                    continue
                u = q
                for j in range(momenta):
                    v[j, i] = (1 - o.eta(t)) * v[j, i] + o.eta(t) * u
                    u = v[j, i]
                g[i] = g[i] + o.C(u - g[i], i, t)
            x = x - o.gamma(t) * (o.weights @ g)
            xs.append(x.copy())
        return xs

    return rule


def mean(o: Given) -> list[Vector]:
    """SGD with compressed gradients and no feedback; of those who answer, weighted up to everybody."""
    x, xs = o.x0.copy(), [o.x0.copy()]
    for t in range(1, o.steps + 1):
        who = o.who(t)
        sent = sum(o.weights[i] * o.C(o.q(i, x, t), i, t) for i in who)
        x = x - o.gamma(t) * sent * o.n / len(who)
        xs.append(x.copy())
    return xs


TOPK = {"compressor": "topk", "k": 40}
CASES = [
    Case({"name": "ef21-sgd", "gamma": 0.1} | TOPK, ef21(0)),
    Case({"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2} | TOPK, ef21(1)),
    Case({"name": "ef21-sgd2m", "eta": 0.3, "gamma": 0.2, "compressor": "randk", "k": 40}, ef21(2)),
    Case({"name": "compressed-sgd", "gamma": 0.1} | TOPK, mean, starts=("zero",)),
]
