"""Federated rivals written from their papers in NumPy, float64, with no line of the package.

A round: clients answer at x, then x <- x - gamma(t) * direction. With `given.start` round 1 is everybody's first
gradient, sent whole, where a method begins so. Who was never asked has x itself as the model it last received.
"""

from __future__ import annotations

import numpy as np

from tests.oracles.given import Case, Given, Vector


def local(given: Given, i: int, x: Vector, t: int, shift: Vector | float = 0.0, mu: float = 0.0) -> list[Vector]:
    """y_0 .. y_K of client i's local steps y <- y - r (q(y) + shift + mu (y - x))."""
    ys = [x]
    for k in range(given.K):
        y = ys[-1]
        ys.append(y - given.rate * (given.q(i, y, t, k) + shift + mu * (y - x)))
    return ys


def displacement(given: Given, i: int, x: Vector, t: int, shift: Vector | float = 0.0, mu: float = 0.0) -> Vector:
    """(x - y_K) / (r K); with K = 1 the first step itself, where a problem has no r."""
    if given.K == 1:
        return given.q(i, x, t, 0) + shift
    return (x - local(given, i, x, t, shift, mu)[-1]) / (given.rate * given.K)


def zeros(given: Given) -> Vector:
    return np.zeros((given.n, len(given.x0)))


def diana(given: Given) -> list[Vector]:
    """h_i += a m_i; g = h + mean of m_i over who was heard; h += a sum_i w_i m_i."""
    a = given.hyper.get("lam", 1 / (1 + given.omega))
    x, h_i, h, xs = given.x0, zeros(given), np.zeros_like(given.x0), [given.x0]
    for t in range(1, given.steps + 1):
        heard = list(given.who(t))
        m = {i: given.C(displacement(given, i, x, t) - h_i[i], i, t) for i in heard}
        total = sum(given.weights[i] * m[i] for i in heard)
        x = x - given.gamma(t) * (h + total / sum(given.weights[i] for i in heard))
        h = h + a * total
        for i in heard:
            h_i[i] = h_i[i] + a * m[i]
        xs.append(x)
    return xs


def ef_bv(given: Given) -> list[Vector]:
    """h_i += lam d_i; g = h + nu sum_i w_i d_i; h += lam sum_i w_i d_i; who is not heard has d_i = 0."""
    lam = given.hyper.get("lam", 1 / (1 + (given.omega or 0)))
    nu = given.hyper.get("nu", 1.0)
    x, h_i, xs = given.x0, zeros(given), [given.x0]
    for t in range(1, given.steps + 1):
        h, d = given.weights @ h_i, zeros(given)
        for i in given.who(t):
            d[i] = given.C(displacement(given, i, x, t) - h_i[i], i, t)
        x = x - given.gamma(t) * (h + nu * (given.weights @ d))
        h_i = h_i + lam * d
        xs.append(x)
    return xs


def marina(given: Given) -> list[Vector]:
    """g = mean grad f_i with probability p, else g + mean Q(difference); a client's last point is its own."""
    p = given.hyper.get("p", 1 / (1 + given.omega))
    x, g_i, last, xs = given.x0, zeros(given), dict[int, Vector](), [given.x0]
    for t in range(1, given.steps + 1):
        first = given.first(t)
        whole = first or given.common(t, p)
        for i in range(given.n) if first else given.who(t):
            if whole:
                g_i[i] = given.exact(i, x)
            else:
                g_i[i] = g_i[i] + given.C(given.q(i, x, t) - given.q(i, last.get(i, x), t), i, t)
            last[i] = x
        x = x - given.gamma(t) * (given.weights @ g_i)
        xs.append(x)
    return xs


def dasha(given: Given, mvr: bool = False) -> list[Vector]:
    """m_i = Q(h_i+ - h_i - a (g_i - h_i)), h_i+ the gradient or its MVR estimate."""
    a = given.hyper.get("a", 1 / (2 * (given.omega or 0) + 1))
    x, h, g, last, xs = given.x0, zeros(given), zeros(given), dict[int, Vector](), [given.x0]
    for t in range(1, given.steps + 1):
        first = given.first(t)
        for i in range(given.n) if first else given.who(t):
            if first:
                h[i] = given.q(i, x, t) if mvr else given.exact(i, x)
                g[i] = h[i]
            else:
                new = given.exact(i, x)
                if mvr:
                    new = given.q(i, x, t) + (1 - given.eta(t)) * (h[i] - given.q(i, last.get(i, x), t))
                m = given.C(new - h[i] - a * (g[i] - h[i]), i, t)
                h[i], g[i] = new, g[i] + m
            last[i] = x
        x = x - given.gamma(t) * (given.weights @ g)
        xs.append(x)
    return xs


def dasha_mvr(given: Given) -> list[Vector]:
    return dasha(given, mvr=True)


def dasha_pp(given: Given, mvr: bool = False) -> list[Vector]:
    """k_i = grad_i(x+) - grad_i(x) - b (h_i - grad_i(x)); h_i += k_i / p; m_i = Q(k_i / p - (a / p)(g_i - h_i))."""
    p = given.participation
    a = given.hyper.get("a", p / (2 * given.omega + 1))
    b = given.hyper.get("b", p / (2 - p))
    x, before, h, g, xs = given.x0, given.x0, zeros(given), zeros(given), [given.x0]
    for t in range(1, given.steps + 1):
        first = given.first(t)
        for i in range(given.n) if first else given.who(t):
            new, old = (given.q(i, y, t) if mvr else given.exact(i, y) for y in (x, before))
            if first:
                h[i] = g[i] = new
                continue
            k = new - old - b * (h[i] - old)
            m = given.C(k / p - (a / p) * (g[i] - h[i]), i, t)
            h[i], g[i] = h[i] + k / p, g[i] + m
        before, x = x, x - given.gamma(t) * (given.weights @ g)
        xs.append(x)
    return xs


def dasha_pp_mvr(given: Given) -> list[Vector]:
    return dasha_pp(given, mvr=True)


def controlled(given: Given, kind: str) -> list[Vector]:
    """SCALLION and SCAFCOM as their paper has them: the local model y_K, and what is formed from it."""
    x, c, c_i, v, xs = given.x0, np.zeros_like(given.x0), zeros(given), zeros(given), [given.x0]
    for t in range(1, given.steps + 1):
        first = given.first(t)
        heard = list(range(given.n) if first else given.who(t))
        delta, eta = {}, given.eta(t)
        for i in heard:
            if first:
                v[i] = delta[i] = displacement(given, i, x, t)
                continue
            u = displacement(given, i, x, t, c - c_i[i])
            if kind == "scallion":
                delta[i] = given.C(eta * (u - c), i, t)
            else:
                v[i] = (1 - eta) * v[i] + eta * (u + c_i[i] - c)
                delta[i] = given.C(v[i] - c_i[i], i, t)
        total = sum(given.weights[i] * delta[i] for i in heard)
        x = x - given.gamma(t) * (total / sum(given.weights[i] for i in heard) + c)
        c = c + total
        for i in heard:
            c_i[i] = c_i[i] + delta[i]
        xs.append(x)
    return xs


def scallion(given: Given) -> list[Vector]:
    return controlled(given, "scallion")


def scafcom(given: Given) -> list[Vector]:
    return controlled(given, "scafcom")


def scaffold(given: Given) -> list[Vector]:
    """The two vectors of the original, option II: changes of the model, and of the control variate.

    Its eta_g is gamma over r K. Where K = 1 any r gives the same.
    """
    r = given.rate if given.K > 1 else 0.5
    x, c, c_i, xs = given.x0, np.zeros_like(given.x0), zeros(given), [given.x0]
    for t in range(1, given.steps + 1):
        first = given.first(t)
        heard = list(range(given.n) if first else given.who(t))
        of_model, of_control = {}, {}
        for i in heard:
            shift = 0.0 if first else c - c_i[i]
            y = x
            for k in range(given.K):
                y = y - r * (given.q(i, y, t, k) + shift)
            new = (x - y) / (r * given.K) - shift
            of_model[i], of_control[i] = y - x, new - c_i[i]
            c_i[i] = new
        share = sum(given.weights[i] for i in heard)
        moved = sum(given.weights[i] * of_model[i] for i in heard) / share
        x = x + given.gamma(t) / (r * given.K) * moved
        c = c + sum(given.weights[i] * of_control[i] for i in heard)
        xs.append(x)
    return xs


def fed_ef(given: Given) -> list[Vector]:
    """C(e_i + D_i) of local displacements; the server takes the mean of who was asked."""
    x, e, xs = given.x0, zeros(given), [given.x0]
    for t in range(1, given.steps + 1):
        total = np.zeros_like(x)
        for i in given.who(t):
            u = e[i] + displacement(given, i, x, t)
            c = given.C(u, i, t)
            e[i] = u - c
            total = total + given.weights[i] / given.participation * c
        x = x - given.gamma(t) * total
        xs.append(x)
    return xs


def fed_ef_ams(given: Given) -> list[Vector]:
    """The same clients before AMSGrad, whose means torch frees of their bias; its own numbers, beta 0.9 and 0.999."""
    x, e, xs = given.x0, zeros(given), [given.x0]
    m, v, top = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for t in range(1, given.steps + 1):
        g = np.zeros_like(x)
        for i in given.who(t):
            u = e[i] + displacement(given, i, x, t)
            c = given.C(u, i, t)
            e[i] = u - c
            g = g + given.weights[i] / given.participation * c
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        top = np.maximum(top, v)
        x = x - given.gamma(t) * m / (1 - 0.9**t) / (np.sqrt(top / (1 - 0.999**t)) + 1e-8)
        xs.append(x)
    return xs


def fedavg(given: Given) -> list[Vector]:
    """x + gamma / (r K) times the mean change of the clients' models."""
    mu = given.hyper.get("mu", 0.0)
    r = given.rate if given.K > 1 else 0.5
    x, xs = given.x0, [given.x0]
    for t in range(1, given.steps + 1):
        moved = np.zeros_like(x)
        for i in given.who(t):
            y = x
            for k in range(given.K):
                y = y - r * (given.q(i, y, t, k) + mu * (y - x))
            moved = moved + given.weights[i] / given.participation * (y - x)
        x = x + given.gamma(t) / (r * given.K) * moved
        xs.append(x)
    return xs


TOPK = {"compressor": "topk", "k": 40}
UNBIASED = {"compressor": "randk", "k": 160, "scaled": True}
AMS = {"optimizer": "adam", "optimizer_args": {"amsgrad": True}}
LOCAL = {"local_steps": 3, "local_rate": 0.05}
ZERO, GRADIENT = ("zero",), ("gradient",)
CASES = [
    Case({"name": "fedavg", "gamma": 0.15}, fedavg, LOCAL, ZERO),
    Case({"name": "fedprox", "gamma": 0.15, "hyper": {"mu": 2.0}}, fedavg, LOCAL, ZERO),
    Case({"name": "fed-ef", "gamma": 0.1} | TOPK, fed_ef, LOCAL, ZERO),
    Case({"name": "fed-ef", "gamma": 0.01, "label": "fed-ef-ams"} | AMS | TOPK, fed_ef_ams, LOCAL, ZERO),
    Case({"name": "scaffold", "gamma": 0.15}, scaffold, LOCAL, GRADIENT),
    Case({"name": "scallion", "gamma": 0.1, "eta": 0.2} | UNBIASED, scallion, LOCAL, ZERO),
    Case({"name": "scafcom", "gamma": 0.1, "eta": 0.3} | TOPK, scafcom, LOCAL),
    Case({"name": "diana", "gamma": 0.1} | UNBIASED, diana, starts=ZERO),
    Case({"name": "ef-bv", "gamma": 0.1, "hyper": {"lam": 0.6, "nu": 0.8}} | TOPK, ef_bv, starts=ZERO),
    Case({"name": "marina", "gamma": 0.05, "hyper": {"p": 0.2}} | UNBIASED, marina),
    Case({"name": "dasha", "gamma": 0.05} | UNBIASED, dasha, starts=GRADIENT),
    Case({"name": "dasha-mvr", "gamma": 0.05, "eta": 0.2} | UNBIASED, dasha_mvr, starts=GRADIENT),
    Case({"name": "dasha-pp", "gamma": 0.05} | UNBIASED, dasha_pp),
    Case({"name": "dasha-pp-mvr", "gamma": 0.05, "hyper": {"b": 0.2}} | UNBIASED, dasha_pp_mvr, starts=GRADIENT),
]
