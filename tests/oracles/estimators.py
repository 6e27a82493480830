"""Methods that differ in the client's estimator, from their papers in NumPy float64, with no line of the package.

A rule returns x^0 .. x^T. Clients that do not answer in a round keep what they have.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.oracles.given import Case, Given, Rule, Vector

Answer = Callable[[int, Vector, int, Vector], Vector]  # (i, x, t, the server's g before) -> the message of client i


def remembered(given: Given, answer: Answer) -> list[Vector]:
    """g <- g + sum_i w_i c_i;  x <- x - gamma g."""
    x, g, xs = given.x0.copy(), np.zeros_like(given.x0), [given.x0.copy()]
    for t in range(1, given.steps + 1):
        told = g.copy()
        for i in given.who(t):
            g = g + given.weights[i] * answer(i, x, t, told)
        x = x - given.gamma(t) * g
        xs.append(x.copy())
    return xs


def forgotten(given: Given, answer: Answer, inside: bool = False) -> list[Vector]:
    """x <- x - gamma (1/p) sum_i w_i c_i, p the share of clients that are asked; no gamma where it is inside c_i."""
    x, xs = given.x0.copy(), [given.x0.copy()]
    for t in range(1, given.steps + 1):
        told = np.zeros_like(x)
        total = sum((given.weights[i] * answer(i, x, t, told) for i in given.who(t)), np.zeros_like(x))
        x = x - (1.0 if inside else given.gamma(t)) * total / given.participation
        xs.append(x.copy())
    return xs


def table(given: Given) -> Vector:
    return np.zeros((given.n, len(given.x0)))


def ef21_mvr(given: Given) -> list[Vector]:
    v, g, old = table(given), table(given), dict[int, Vector]()

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        if given.first(t):
            v[i], c = given.q(i, x, t), given.q(i, x, t)
        else:
            v[i] = given.q(i, x, t) + (1 - given.eta(t)) * (v[i] - given.q(i, old.get(i, x), t))
            c = given.C(v[i] - g[i], i, t)
        g[i], old[i] = g[i] + c, x.copy()
        return c

    return remembered(given, answer)


def ef21_page(given: Given) -> list[Vector]:
    v, g, old = table(given), table(given), dict[int, Vector]()

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        if given.first(t):
            v[i] = c = given.exact(i, x)
        else:
            if given.coin(i, t, given.hyper["p"]):
                v[i] = given.exact(i, x)
            else:
                v[i] = v[i] + given.q(i, x, t) - given.q(i, old.get(i, x), t)
            c = given.C(v[i] - g[i], i, t)
        g[i], old[i] = g[i] + c, x.copy()
        return c

    return remembered(given, answer)


def absolute(momenta: int) -> Rule:
    """EF21-SGD-abs, EF21-SGDM-abs and EF21-SGD2M-abs: none, one or two momenta."""

    def rule(given: Given) -> list[Vector]:
        m, g = [table(given) for _ in range(momenta)], table(given)

        def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
            w, first = given.q(i, x, t), given.first(t)
            for v in m:
                w = v[i] = w if first else (1 - given.eta(t)) * v[i] + given.eta(t) * w
            c = w if first else given.gamma(t) * given.C((w - g[i]) / given.gamma(t), i, t)
            g[i] = g[i] + c
            return c

        return remembered(given, answer)

    return rule


def ideal(momentum: bool) -> Rule:
    def rule(given: Given) -> list[Vector]:
        def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
            h = given.exact(i, x)
            v = h + given.eta(t) * (given.q(i, x, t) - h) if momentum else given.q(i, x, t)
            return h + given.C(v - h, i, t)

        return forgotten(given, answer)

    return rule


def ef14_momentum(given: Given) -> list[Vector]:
    v, e = table(given), table(given)

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        v[i] = (1 - given.eta(t)) * v[i] + given.eta(t) * given.q(i, x, t)
        c = given.C(e[i] + given.gamma(t) * v[i], i, t)
        e[i] = e[i] + given.gamma(t) * v[i] - c
        return c

    return forgotten(given, answer, inside=True)


def neolithic(given: Given) -> list[Vector]:
    e = table(given)

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        w = e[i] + given.gamma(t) * given.q(i, x, t)
        sent = np.zeros_like(w)
        for r in range(int(given.hyper["R"])):
            sent = sent + given.C(w - sent, i, t, r)
        e[i] = w - sent
        return sent

    return forgotten(given, answer, inside=True)


def econtrol(given: Given) -> list[Vector]:
    e, h = table(given), table(given)

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        q = given.q(i, x, t)
        delta = q if given.first(t) else given.C(given.eta(t) * e[i] + q - h[i], i, t)
        e[i], h[i] = e[i] + q - h[i] - delta, h[i] + delta
        return delta

    return remembered(given, answer)


def ef21_pp(given: Given) -> list[Vector]:
    g = table(given)

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        full = given.exact(i, x)
        c = full if given.first(t) else given.C(full - g[i], i, t)
        g[i] = g[i] + c
        return c

    return remembered(given, answer)


def ef21_plus(given: Given) -> list[Vector]:
    """As in the paper, where the server keeps every g_i."""
    g, x, xs = table(given), given.x0.copy(), [given.x0.copy()]
    for t in range(1, given.steps + 1):
        for i in given.who(t):
            q = given.q(i, x, t)
            if given.first(t):
                g[i] = q
                continue
            b, m = given.C(q, i, t, 0), g[i] + given.C(q - g[i], i, t, 1)
            g[i] = b if ((q - b) ** 2).sum() < ((q - m) ** 2).sum() else m
        x = x - given.gamma(t) * given.weights @ g
        xs.append(x.copy())
    return xs


def beer(given: Given) -> list[Vector]:
    v, g, old = table(given), table(given), table(given)

    def answer(i: int, x: Vector, t: int, told: Vector) -> Vector:
        q = given.q(i, x, t)
        if given.first(t):
            v[i] = c = q
        else:
            v[i] = v[i] + given.hyper["mix"] * (told - g[i]) + q - old[i]
            c = given.C(v[i] - g[i], i, t)
        g[i], old[i] = g[i] + c, q
        return c

    return remembered(given, answer)


TOPK = {"compressor": "topk", "k": 40}
CUT = {"compressor": "hard-threshold", "threshold": 0.05}
ZERO = ("zero",)
CASES = [
    Case({"name": "ef21-mvr", "eta": 0.3, "gamma": 0.2} | TOPK, ef21_mvr),
    Case({"name": "ef21-page", "gamma": 0.2, "hyper": {"p": 0.3}} | TOPK, ef21_page),
    Case({"name": "ef21-sgd-abs", "gamma": 0.1} | CUT, absolute(0), starts=ZERO),
    Case({"name": "ef21-sgdm-abs", "eta": 0.3, "gamma": 0.2} | CUT, absolute(1)),
    Case({"name": "ef21-sgd2m-abs", "eta": 0.3, "gamma": 0.2, "compressor": "grid", "step": 0.1}, absolute(2)),
    Case({"name": "ef21-sgd-ideal", "gamma": 0.1} | TOPK, ideal(momentum=False), starts=ZERO),
    Case({"name": "ef21-sgdm-ideal", "eta": 0.3, "gamma": 0.2} | TOPK, ideal(momentum=True), starts=ZERO),
    Case({"name": "ef14-momentum", "eta": 0.3, "gamma": 0.2} | TOPK, ef14_momentum, starts=ZERO),
    Case({"name": "neolithic", "gamma": 0.1, "hyper": {"R": 3}} | TOPK, neolithic, starts=ZERO),
    Case(
        {"name": "neolithic", "gamma": 0.1, "hyper": {"R": 2}, "compressor": "randk", "k": 40}, neolithic, starts=ZERO
    ),
    Case({"name": "econtrol", "eta": 0.05, "gamma": 0.1} | TOPK, econtrol),
    Case({"name": "ef21-pp", "gamma": 0.2} | TOPK, ef21_pp),
    Case({"name": "ef21-plus", "gamma": 0.1} | TOPK, ef21_plus),
    Case({"name": "beer", "gamma": 0.1, "hyper": {"mix": 0.1}, "compressor": "randk", "k": 40}, beer),
]
