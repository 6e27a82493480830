"""Methods whose server, or whose way down, is another than EF21's: their rules from the papers in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from tests.oracles.given import Case, Given, Vector

Answer = Callable[[int, Vector, Vector, int], Vector]
Move = Callable[[Vector, Vector, int], Vector]


def _ef21(given: Given, answer: Answer, move: Move) -> list[Vector]:
    """x^0 .. x^T of EF21's frame: answer(i, x, x_old, t) is the vector that g_i follows; move(x, g, t) the next x.

    x_old is the model that client i received before, x where there was none. The first answer of all is sent whole
    where `start`.
    """
    x, xs = given.x0.copy(), [given.x0.copy()]
    g, old = np.zeros((given.n, len(x))), dict[int, Vector]()
    for t in range(1, given.steps + 1):
        for i in given.who(t):
            target = answer(i, x, old.get(i, x), t)
            g[i] = target if given.first(t) else g[i] + given.C(target - g[i], i, t)
            old[i] = x.copy()
        x = move(x, given.weights @ g, t)
        xs.append(x.copy())
    return xs


def _gradient(given: Given) -> Answer:
    """EF21: g_i follows the stochastic gradient."""
    return lambda i, x, old, t: given.q(i, x, t)


def _momentum(given: Given) -> Answer:
    """EF21-SGDM: g_i follows an average of them."""
    v = np.zeros((given.n, len(given.x0)))

    def answer(i: int, x: Vector, old: Vector, t: int) -> Vector:
        eta = 1.0 if given.first(t) else given.eta(t)
        v[i] = (1 - eta) * v[i] + eta * given.q(i, x, t)
        return np.array(v[i])

    return answer


def _down(given: Given, direction: Callable[[Vector, int], Vector]) -> Move:
    return lambda x, g, t: x - given.gamma(t) * direction(g, t)


def heavy_ball(given: Given) -> list[Vector]:
    m, beta = np.zeros(len(given.x0)), given.hyper["beta"]

    def direction(g: Vector, t: int) -> Vector:
        m[:] = beta * m + g
        return m

    return _ef21(given, _gradient(given), _down(given, direction))


def _unit(g: Vector, t: int) -> Vector:
    length = float(np.sqrt((g**2).sum()))
    return g if length == 0 else g / length


def normalised(given: Given) -> list[Vector]:
    return _ef21(given, _momentum(given), _down(given, _unit))


def normalised_igt(given: Given) -> list[Vector]:
    v = np.zeros((given.n, len(given.x0)))

    def answer(i: int, x: Vector, old: Vector, t: int) -> Vector:
        eta = given.eta(t)
        if given.first(t):
            v[i] = given.q(i, x, t)
        else:
            v[i] = (1 - eta) * v[i] + eta * given.q(i, x + (1 - eta) / eta * (x - old), t)
        return np.array(v[i])

    return _ef21(given, answer, _down(given, _unit))


def normalised_storm(given: Given) -> list[Vector]:
    v = np.zeros((given.n, len(given.x0)))

    def answer(i: int, x: Vector, old: Vector, t: int) -> Vector:
        if given.first(t):
            v[i] = given.q(i, x, t)
        else:
            v[i] = given.q(i, x, t) + (1 - given.eta(t)) * (v[i] - given.q(i, old, t))
        return np.array(v[i])

    return _ef21(given, answer, _down(given, _unit))


def prox_l1(given: Given, lam: float) -> list[Vector]:
    def move(x: Vector, g: Vector, t: int) -> Vector:
        y, out = x - given.gamma(t) * g, np.zeros(len(x))
        for j in range(len(y)):  # argmin_z lam |z| + (z - y_j)^2 / (2 gamma)
            if abs(y[j]) > lam * given.gamma(t):
                out[j] = y[j] - np.sign(y[j]) * lam * given.gamma(t)
        return out

    return _ef21(given, _gradient(given), move)


def prox_box(given: Given, bound: float) -> list[Vector]:
    def move(x: Vector, g: Vector, t: int) -> Vector:
        return np.array([min(bound, max(-bound, y)) for y in x - given.gamma(t) * g])

    return _ef21(given, _momentum(given), move)


def by_smoothness(given: Given) -> list[Vector]:
    """g_i follows q_i / (n w_i); given.weights are w_i = L_i / sum_j L_j, the problem's are 1 / n."""

    def answer(i: int, x: Vector, old: Vector, t: int) -> Vector:
        return given.q(i, x, t) / float(given.n * given.weights[i])

    return _ef21(given, answer, _down(given, lambda g, t: g))


def muon(given: Given) -> list[Vector]:
    def direction(g: Vector, t: int) -> Vector:
        out, at = np.zeros(len(g)), 0
        for _, shape in given.shapes:
            size = int(np.prod(shape))
            part = g[at : at + size].reshape(shape)
            out[at : at + size] = (_polar(part) if len(shape) == 2 else given.hyper["rest"] * np.sign(part)).reshape(-1)
            at += size
        return out

    return _ef21(given, _momentum(given), _down(given, direction))


def _polar(G: Vector) -> Vector:
    """The sum of u v^T over the singular triples, but for those below float32's resolution of the largest."""
    U, S, Vt = np.linalg.svd(G)
    return sum((np.outer(U[:, j], Vt[j]) for j in range(len(S)) if S[j] > 2.0**-23 * S[0]), np.zeros(G.shape))


def bidirectional(given: Given) -> list[Vector]:
    """EF21-BC: x - gamma h, where h follows g by what the server's compressor lets through."""
    h = np.zeros(len(given.x0))

    def direction(g: Vector, t: int) -> Vector:
        h[:] = h + given.down(g - h, t)
        return h

    return _ef21(given, _gradient(given), _down(given, direction))


def primal(given: Given) -> list[Vector]:
    """EF21-P: clients differentiate at w, which follows x."""
    n, d = given.n, len(given.x0)
    x, w, xs = given.x0.copy(), given.x0.copy(), [given.x0.copy()]
    v, g = np.zeros((n, d)), np.zeros((n, d))
    for t in range(1, given.steps + 1):
        first = given.first(t)
        eta = 1.0 if first else given.eta(t)
        for i in given.who(t):
            v[i] = (1 - eta) * v[i] + eta * given.q(i, w, t)
            g[i] = v[i] if first else g[i] + given.C(v[i] - g[i], i, t)
        x = x - given.gamma(t) * g.mean(axis=0)
        w = w + given.down(x - w, t)
        xs.append(x.copy())
    return xs


TOPK, DOWN = {"compressor": "topk", "k": 40}, {"downlink": "randk:150"}
RANDK = {"compressor": "randk", "k": 150}  # no ties, which rounding would decide
FALLING = {"value": 0.2, "power": 0.75, "tau": 2.0}
AGNOSTIC = {"gamma": FALLING} | TOPK
CASES = [
    Case({"name": "ef21-hb", "gamma": 0.05, "hyper": {"beta": 0.7}} | TOPK, heavy_ball),
    Case({"name": "ef21-sgdm-norm", "eta": {"value": 1.0, "power": 0.5, "tau": 2.0}} | AGNOSTIC, normalised),
    Case({"name": "ef21-igt-norm", "eta": {"value": 1.0, "power": 4 / 7, "tau": 2.0}} | AGNOSTIC, normalised_igt),
    Case({"name": "ef21-mvr-norm", "eta": {"value": 1.0, "power": 2 / 3, "tau": 2.0}} | AGNOSTIC, normalised_storm),
    Case({"name": "ef21-prox", "gamma": 0.1, "prox": "l1:0.01", "label": "l1"} | TOPK, partial(prox_l1, lam=0.01)),
    Case({"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "prox": "box:0.02", "label": "box"} | TOPK,
         partial(prox_box, bound=0.02)),
    Case({"name": "ef21-w", "gamma": 0.1} | TOPK, by_smoothness),
    Case({"name": "ef21-muon", "eta": 0.3, "gamma": 0.02, "hyper": {"rest": 0.5}}, muon),
    Case({"name": "ef21-bc", "gamma": FALLING} | RANDK | DOWN, bidirectional),
    Case({"name": "ef21-p", "eta": 0.3, "gamma": 0.1} | RANDK | DOWN, primal),
]  # fmt: skip
