"""Rounds, samples and coordinates to E|grad f| <= eps: Table 1 of the EF21-SGDM paper, with L and f(x0) - f* put in.

    method                  rounds T                                        samples of a client in a round
    ef14                    L d0/eps^2 + L d0 G/(alpha eps^3) + N           1
    neolithic               L d0/(alpha eps^2) log(G/eps) messages          sigma^2/(n eps^4) in all
    ef21-sgd                L~ d0/(alpha eps^2)                             sigma^2/(alpha^2 eps^2)
    beer                    L~ d0/(alpha eps^2)                             sigma^2/(alpha eps^2)
    ef21-sgdm               L~ d0/(alpha eps^2) + L d0 sigma^(2/3)/(alpha^(2/3) eps^(8/3))
                            + L d0 sigma/(alpha^(1/2) eps^3) + N            1
    ef21-sgd2m              the same without the eps^-3 term                1

N = L d0 sigma^2/(n eps^4), the only term that is left as eps falls. These are orders of magnitude: the theorems'
absolute constants are left out, so a number says how methods compare and how they grow, and no more. sigma^2 here is
that of one sample.

Reference: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023, Table 1. It writes
rates in eps, alpha, sigma, n, G and K; L d0 before each term is what the units ask for, and what the tuned rate of
ef21-sgdm has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fl_ef21.theory.constants import Constants


@dataclass(frozen=True)
class Predicted:
    """Attributes:
    rounds: T; batch: samples of a client in a round; coordinates: values a client sends, None where unknown.
    batch_free: whether it converges with a single sample a round.
    assumes: what it assumes besides smoothness and bounded variance; empty for nothing.
    terms: the parts that `rounds` is the sum of, by what they grow with.
    """

    method: str
    rounds: float
    batch: float
    coordinates: float | None
    batch_free: bool
    assumes: str
    terms: dict[str, float]

    @property
    def samples(self) -> float:
        """Gradients of single samples of one client in all."""
        return self.rounds * self.batch


def table(c: Constants, alpha: float, sent: float | None, eps: float) -> list[Predicted]:
    """The rows of the table. alpha of the compressor, `sent` values of one message; eps > 0."""
    L, tilde, d0, n = c.smooth.L, c.smooth.tilde, c.delta, c.clients
    var, sigma, G = c.noise.single, math.sqrt(c.noise.single), c.bound_on_gradients
    fast, noisy = {"eps^-2": tilde * d0 / (alpha * eps**2)}, {"eps^-4": L * d0 * var / (n * eps**4)}
    middle = {"eps^-8/3": L * d0 * sigma ** (2 / 3) / (alpha ** (2 / 3) * eps ** (8 / 3))}
    single = {"eps^-3": L * d0 * sigma / (math.sqrt(alpha) * eps**3)}
    bounded, alike = "|q_i| bounded by G", "|grad f_i - grad f| bounded by G"

    def row(
        method: str, terms: dict[str, float], batch: float = 1.0, free: bool = True, assumes: str = ""
    ) -> Predicted:
        T, B = sum(terms.values()), max(1.0, batch)
        return Predicted(method, T, B, None if sent is None else sent * T, free, assumes, terms)

    ef14 = {"eps^-2": L * d0 / eps**2, "eps^-3": L * d0 * G / (alpha * eps**3)} | noisy
    logarithm = {"eps^-2": L * d0 / (alpha * eps**2) * max(1.0, math.log(max(G, eps) / eps))}
    whole = logarithm["eps^-2"]
    return [
        row("ef14", ef14, assumes=bounded),
        row("neolithic", logarithm, noisy["eps^-4"] / whole if whole else 1.0, free=False, assumes=alike),
        row("ef21-sgd", fast, var / (alpha**2 * eps**2), free=False),
        row("beer", fast, var / (alpha * eps**2), free=False),
        row("ef21-sgdm", fast | middle | single | noisy),
        row("ef21-sgd2m", fast | middle | noisy),
    ]
