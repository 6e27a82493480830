"""The step size and the eta that a method's theorem allows.

    ef21-sgdm       gamma = min(alpha / (20 L~), eta / (7 L)), and eta the least of 1, (alpha^2 s / T)^(1/4),
                    (alpha s / T)^(1/3), (n s / T)^(1/2), alpha s^(1/2), where s = L d0 / sigma^2
    sgdm            the same with alpha = 1
    ef21-sgd2m      gamma = min(alpha / (60 L~), eta / (16 L)), eta as above without the power 1/3
    ef21-sgd, ef21-plus     with exact gradients: gamma = 1 / (L + L~ sqrt(beta/theta)), theta = 1 - sqrt(1 - alpha),
                    beta = (1 - alpha) / theta
    ef21-pp         gamma = 1 / (L + sqrt(B/theta_p)), theta_p = theta p - rho (1 - p),
                    B = (beta p + (1 + 1/rho) (1 - p)) L~^2, theta = 1 - (1 + s) (1 - alpha),
                    beta = (1 + 1/s) (1 - alpha), with the s and rho that make it largest
    ef21-w          gamma = 1 / (L + L_AM sqrt(beta/theta)), L_AM = sum_i w_i L_i
    marina          gamma = 1 / (L + L~ sqrt((1 - p) omega / (p n)))
    dasha           gamma = 1 / (L + L~ sqrt(16 omega (2 omega + 1) / n))
    ...-norm        eta_t = (2 / (t + 2))^q; they need no constants, and no theorem chooses their gamma here

d0 = f(x0) - f*, T rounds, sigma^2 that of a client's batch; the first gradient of a client is one such batch.

References: Fatkhullin, Tyurin, Richtarik. Momentum Provably Improves Error Feedback! NeurIPS 2023: the rates are the
paper's, the constants 20, 7, 60, 16 and the choice of eta [recalled; those of ef21-sgdm give the paper's rate term by
term]. Richtarik, Sokolov, Fatkhullin. EF21. NeurIPS 2021. Fatkhullin et al. EF21 with Bells & Whistles (PP). JMLR 2025.
Richtarik, Gasanov, Burlachenko. Error Feedback Reloaded (W). ICLR 2024. Gorbunov et al. MARINA. ICML 2021 [recalled].
Tyurin, Richtarik. DASHA. ICLR 2023 [recalled]. Sadiev et al. 2511.14501 (the -norm schedules).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fl_ef21.schedule import Schedule
from fl_ef21.theory.constants import Constants


@dataclass(frozen=True)
class Facts:
    """What a theorem must know of a method in a scenario.

    Attributes:
      alpha, omega: of the weakest compressor, None where it claims none.
      rounds: T.
      participation: p, the share of clients asked in a round.
      hyper: the method's own hyperparameters, by name.
    """

    alpha: float | None
    omega: float | None
    rounds: int
    participation: float = 1.0
    hyper: Mapping[str, float] = field(default_factory=dict)


Gamma = Callable[[Constants, Facts, float], float]  # from eta
Eta = Callable[[Constants, Facts], Schedule]


@dataclass(frozen=True)
class Theorem:
    """Attributes:
    says: what gamma and eta it allows, in one line of text.
    source: where that is from.
    gamma: the largest allowed, from eta; None where no theorem here says one.
    eta: what it takes; None where the method has none.
    compressor: what C must be.
    exact: it is about exact gradients, sigma = 0, and the method takes them with full batches alone.
    fixed: a hyperparameter whose default it is about; empty for none.
    sampled: it also holds where only some clients are asked.
    """

    says: str
    source: str
    gamma: Gamma | None
    eta: Eta | None = None
    compressor: Literal["contractive", "unbiased"] = "contractive"
    exact: bool = False
    fixed: str = ""
    sampled: bool = False

    def lacks(self, c: Constants, f: Facts) -> str:
        """Why it says nothing about this scenario, as the end of a sentence; empty where it does."""
        if self.compressor == "contractive" and f.alpha is None:
            return "needs a compressor that contracts, with a known alpha, such as topk"
        if self.compressor == "unbiased" and f.omega is None:
            return "needs an unbiased compressor with a known omega, such as randk with scaled = true"
        if self.exact and c.noise.batch > 0:
            return 'is about exact gradients; take train.batch_size = "full"'
        if self.fixed in f.hyper:
            return f"is about the default of hyper.{self.fixed}; leave it out"
        if not self.sampled and f.participation < 1:
            return "asks every client in every round; take train.participation = 1"
        return ""


def ratio(alpha: float) -> float:
    """sqrt(beta/theta) of EF21, at most 2/alpha - 1."""
    return math.sqrt(1 - alpha) / (1 - math.sqrt(1 - alpha))


def _momentum(a: float, b: float) -> Gamma:
    def gamma(c: Constants, f: Facts, eta: float) -> float:
        assert f.alpha is not None
        return min(f.alpha / (a * c.smooth.tilde), eta / (b * c.smooth.L))

    return gamma


def _eta(third: bool) -> Eta:
    def eta(c: Constants, f: Facts) -> Schedule:
        assert f.alpha is not None
        if c.sigma == 0 or c.delta == 0:
            return Schedule(1.0)
        free = c.smooth.L * c.delta / c.noise.batch  # L d0 / sigma^2
        per, terms = free / f.rounds, [1.0]
        terms.append((per * f.alpha**2) ** (1 / 4))
        if third:
            terms.append((per * f.alpha) ** (1 / 3))
        return Schedule(min(*terms, (per * c.clients) ** (1 / 2), f.alpha * math.sqrt(free)))

    return eta


def _ef21(c: Constants, f: Facts, eta: float) -> float:
    assert f.alpha is not None
    return 1 / (c.smooth.L + c.smooth.tilde * ratio(f.alpha))


def _weighted(c: Constants, f: Facts, eta: float) -> float:
    assert f.alpha is not None
    return 1 / (c.smooth.L + c.smooth.mean * ratio(f.alpha))


def _sampled(c: Constants, f: Facts, eta: float) -> float:
    """The best of 400 x 400 pairs of s and rho."""
    assert f.alpha is not None
    a, p, grid = 1 - f.alpha, f.participation, np.geomspace(1e-6, 1 - 1e-6, 400)
    if a == 0:
        theta, beta = np.ones(1), np.zeros(1)
    else:
        s = np.append(grid * f.alpha / a, 1 / math.sqrt(a) - 1)
        theta, beta = 1 - (1 + s) * a, (1 + 1 / s) * a
    if p == 1:
        return 1 / (c.smooth.L + c.smooth.tilde * math.sqrt(float((beta / theta).min())))
    rho = grid[None, :] * theta[:, None] * p / (1 - p)
    B = beta[:, None] * p + (1 + 1 / rho) * (1 - p)
    least = float((B / (theta[:, None] * p - rho * (1 - p))).min())
    return 1 / (c.smooth.L + c.smooth.tilde * math.sqrt(least))


def _marina(c: Constants, f: Facts, eta: float) -> float:
    assert f.omega is not None
    p = f.hyper.get("p", 1 / (1 + f.omega))
    return 1 / (c.smooth.L + c.smooth.tilde * math.sqrt((1 - p) * f.omega / (p * c.clients)))


def _dasha(c: Constants, f: Facts, eta: float) -> float:
    assert f.omega is not None
    return 1 / (c.smooth.L + c.smooth.tilde * math.sqrt(16 * f.omega * (2 * f.omega + 1) / c.clients))


def _agnostic(q: float) -> Theorem:
    says = f"eta_t = (2 / (t + 2))^{q:.3g}; gamma is free"
    return Theorem(says, "2511.14501", None, lambda c, f: Schedule(1.0, q, 2.0), sampled=True)


_SGDM = Theorem(
    "gamma <= min(alpha / (20 L~), eta / (7 L))", "NeurIPS 2023 [recalled]", _momentum(20, 7), _eta(third=True)
)
_EF21 = Theorem("gamma <= 1 / (L + L~ sqrt(beta/theta))", "EF21, NeurIPS 2021", _ef21, exact=True)

THEOREMS: dict[str, Theorem] = {
    "ef21-sgdm": _SGDM,
    "sgdm": _SGDM,
    "ef21-sgd2m": Theorem(
        "gamma <= min(alpha / (60 L~), eta / (16 L))", "NeurIPS 2023 [recalled]", _momentum(60, 16), _eta(third=False)
    ),
    "ef21-sgd": _EF21,
    "ef21-plus": _EF21,
    "ef21-pp": Theorem(
        "gamma <= 1 / (L + sqrt(B/theta_p))", "Bells & Whistles, Theorem 7", _sampled, sampled=True
    ),
    "ef21-w": Theorem("gamma <= 1 / (L + L_AM sqrt(beta/theta))", "Error Feedback Reloaded", _weighted, exact=True),
    "marina": Theorem(
        "gamma <= 1 / (L + L~ sqrt((1 - p) omega / (p n)))", "MARINA [recalled]", _marina,
        compressor="unbiased", exact=True,
    ),
    "dasha": Theorem(
        "gamma <= 1 / (L + L~ sqrt(16 omega (2 omega + 1) / n))", "DASHA [recalled]", _dasha,
        compressor="unbiased", fixed="a",
    ),
    "ef21-sgdm-norm": _agnostic(1 / 2),
    "ef21-igt-norm": _agnostic(4 / 7),
    "ef21-mvr-norm": _agnostic(2 / 3),
}  # fmt: skip


def rounded(value: float) -> float:
    """Four digits, downwards, so that what was allowed stays allowed."""
    if not 0 < value < math.inf:
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 3)
    return float(f"{math.floor(value / unit * (1 + 1e-12)) * unit:.4g}")
