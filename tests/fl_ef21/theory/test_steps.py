"""Step sizes: limiting cases, what they promise measured on runs written out, and the paper's table."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21.schedule import Schedule
from fl_ef21.theory.complexity import table
from fl_ef21.theory.constants import Constants
from fl_ef21.theory.infimum import Infimum
from fl_ef21.theory.noise import Variance
from fl_ef21.theory.smoothness import Smoothness
from fl_ef21.theory.steps import THEOREMS, Facts, ratio, rounded


def given(L: float = 2.0, tilde: float = 3.0, sigma_sq: float = 0.0, d0: float = 5.0, n: int = 10) -> Constants:
    smooth = Smoothness(L, torch.full((n,), tilde, dtype=torch.float64), tilde, tilde, "exact", n)
    noise = Variance(sigma_sq, sigma_sq, sigma_sq / n, exact=True)
    return Constants(smooth, noise, Infimum(1.0, "exact"), 1.0 + d0, 4.0, 1.0, 3.0, n, 100)


def gamma(method: str, c: Constants, f: Facts, eta: float = 1.0) -> float:
    found = THEOREMS[method].gamma
    assert found is not None
    return found(c, f, eta)


def eta(method: str, c: Constants, f: Facts) -> Schedule:
    found = THEOREMS[method].eta
    assert found is not None
    return found(c, f)


def test_without_compression_ef21_may_step_as_gradient_descent() -> None:
    assert gamma("ef21-sgd", given(), Facts(1.0, None, 10)) == 1 / 2.0


@pytest.mark.parametrize("alpha", [0.001, 0.1, 0.5, 0.99])
def test_ratio_is_the_root_of_beta_over_theta_and_below_its_safe_value(alpha: float) -> None:
    theta = 1 - math.sqrt(1 - alpha)
    assert ratio(alpha) == pytest.approx(math.sqrt((1 - alpha) / theta / theta))
    assert ratio(alpha) <= 2 / alpha - 1


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_asking_everybody_ef21_pp_is_ef21_and_asking_fewer_it_steps_less(alpha: float) -> None:
    steps = [gamma("ef21-pp", given(), Facts(alpha, None, 10, p)) for p in (1.0, 0.999999, 0.5, 0.1)]
    assert steps[0] == pytest.approx(gamma("ef21-sgd", given(), Facts(alpha, None, 10)), rel=1e-9)
    assert steps[0] == pytest.approx(steps[1], rel=2e-2) and steps == sorted(steps, reverse=True)


def test_weighting_by_smoothness_allows_the_mean_in_place_of_the_root_mean_square() -> None:
    c = given()
    c = replace(c, smooth=replace(c.smooth, mean=2.5))
    f = Facts(0.1, None, 10)
    assert gamma("ef21-w", c, f) == pytest.approx(1 / (2 + 2.5 * ratio(0.1)))
    assert gamma("ef21-w", c, f) > gamma("ef21-sgd", c, f)


def test_momentum_takes_the_smaller_of_its_two_bounds() -> None:
    f = Facts(0.1, None, 10)
    assert gamma("ef21-sgdm", given(), f, 1.0) == pytest.approx(0.1 / 60)
    assert gamma("ef21-sgdm", given(), f, 0.01) == pytest.approx(0.01 / 14)
    assert gamma("ef21-sgd2m", given(), f, 0.01) == pytest.approx(min(0.1 / 180, 0.01 / 32))


def test_eta_is_one_without_noise_and_falls_as_the_paper_says_with_it() -> None:
    f = Facts(0.1, None, 1000)
    assert eta("ef21-sgdm", given(), f) == Schedule(1.0)
    c = given(sigma_sq=4.0)
    s = 2 * 5 / 4.0
    wanted = [(s * 0.01 / 1000) ** 0.25, (s * 0.1 / 1000) ** (1 / 3), (s * 10 / 1000) ** 0.5, 0.1 * s**0.5]
    assert eta("ef21-sgdm", c, f).value == pytest.approx(min(wanted))
    del wanted[1]
    assert eta("ef21-sgd2m", c, f).value == pytest.approx(min(wanted))
    longer = eta("ef21-sgdm", c, replace(f, rounds=10**9)).value
    assert longer == pytest.approx((s * 10 / 1e9) ** 0.5)  # in the long run the term with n decides: linear speed-up


def test_the_rate_with_these_parameters_is_the_paper_s_tuned_rate() -> None:
    """Lambda_0 / (gamma T) + eta^3 sigma^2/alpha^2 + eta^2 sigma^2/alpha + eta sigma^2/n, up to a constant."""
    for alpha, T, sigma_sq, n in [(0.1, 1e4, 4.0, 10), (0.01, 1e6, 0.1, 100), (0.5, 1e8, 9.0, 4), (0.02, 1e5, 1.0, 1)]:
        c = given(sigma_sq=sigma_sq, n=n)
        f = Facts(alpha, None, int(T))
        e = eta("ef21-sgdm", c, f).value
        rate = 5 / (gamma("ef21-sgdm", c, f, e) * T) + sigma_sq * (e**3 / alpha**2 + e**2 / alpha + e / n)
        s, LD = math.sqrt(sigma_sq), 2 * 5
        tuned = (
            3 * 5 / (alpha * T) + (LD * s ** (2 / 3) / (alpha ** (2 / 3) * T)) ** 0.75
            + (LD * s / (math.sqrt(alpha) * T)) ** (2 / 3) + (LD * sigma_sq / (n * T)) ** 0.5
        )  # fmt: skip
        start = (LD / alpha) * s / math.sqrt(LD) / T  # what a first batch of a single sample adds
        assert rate <= 25 * (tuned + start)


def quadratics(n: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hessians and centres of n clients that differ in both."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n, d, d)) * rng.uniform(0.3, 2, (n, 1, 1))
    return roots @ roots.transpose(0, 2, 1) / d, rng.normal(size=(n, d))


def of(A: np.ndarray, b: np.ndarray) -> tuple[Constants, Any, Any]:
    """Constants, f and the gradients of clients."""
    n, d = b.shape
    least = np.linalg.solve(A.sum(axis=0), np.einsum("nij,nj->i", A, b))

    def f(x: np.ndarray) -> float:
        return float(0.5 * np.einsum("ni,nij,nj->", x - b, A, x - b) / n)

    def slopes(x: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.einsum("nij,nj->ni", A, x - b)
        return found

    each = np.linalg.eigvalsh(A)[:, -1]
    L, tilde = float(np.linalg.eigvalsh(A.mean(axis=0))[-1]), float(np.sqrt((each**2).mean()))
    smooth = Smoothness(L, torch.tensor(each), tilde, float(each.mean()), "exact", n)
    c = Constants(smooth, Variance(0, 0, 0, True), Infimum(f(least), "exact"), f(np.ones(d)), 0.0, 0.0, 0.0, n, d)
    return c, f, slopes


def top1(u: np.ndarray) -> np.ndarray:
    """Of every row; alpha = 1/d."""
    kept = np.zeros_like(u)
    rows, at = np.arange(len(u)), np.abs(u).argmax(axis=1)
    kept[rows, at] = u[rows, at]
    return kept


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ef21_keeps_the_promise_of_its_theorem_at_the_largest_step_it_allows(seed: int) -> None:
    """mean |grad f|^2 <= 2 d0 / (gamma T) + G_0 / (theta T)."""
    A, b = quadratics(4, 6, seed)
    c, _, slopes = of(A, b)
    T, alpha, x = 400, 1 / 6, np.ones(6)
    step, theta = gamma("ef21-sgd", c, Facts(alpha, None, T)), 1 - math.sqrt(1 - alpha)
    g = top1(slopes(x))
    G0, total = float(((g - slopes(x)) ** 2).sum(axis=1).mean()), 0.0
    for _ in range(T):
        total += float((slopes(x).mean(axis=0) ** 2).sum())
        x = x - step * g.mean(axis=0)
        g = g + top1(slopes(x) - g)
    assert total / T <= 2 * c.delta / (step * T) + G0 / (theta * T)


@pytest.mark.parametrize("method", ["ef21-sgdm", "ef21-sgd2m"])
@pytest.mark.parametrize("e", [1.0, 0.1])
def test_the_lyapunov_function_never_rises_without_noise(method: str, e: float) -> None:
    A, b = quadratics(4, 6, 5)
    c, f, slopes = of(A, b)
    alpha, x = 1 / 6, np.ones(6)
    step = gamma(method, c, Facts(alpha, None, 500), e)
    v, g = np.zeros((4, 6)), np.zeros((4, 6))
    u, seen = v, list[float]()
    for _ in range(500):
        q = slopes(x)
        v = (1 - e) * v + e * q
        u = (1 - e) * u + e * v if method == "ef21-sgd2m" else v
        g = g + top1(u - g)
        if method == "ef21-sgdm":
            away, mean = ((v - q) ** 2).sum(axis=1).mean(), ((v - q).mean(axis=0) ** 2).sum()
            error = ((g - v) ** 2).sum(axis=1).mean()
            seen.append(f(x) - c.least.value + step * (error / alpha + e / alpha**2 * away + mean / e))
        else:
            seen.append(float((q.mean(axis=0) ** 2).sum()))
        x = x - step * g.mean(axis=0)
    if method == "ef21-sgdm":
        assert all(b <= a for a, b in pairwise(seen)) and seen[-1] < 0.9 * seen[0]
    else:
        assert seen[-1] < 0.9 * seen[0]


def test_theorems_say_what_they_lack() -> None:
    noisy, exact = given(sigma_sq=1.0), given()
    assert "contracts" in THEOREMS["ef21-sgdm"].lacks(exact, Facts(None, 2.0, 10))
    assert "unbiased" in THEOREMS["marina"].lacks(exact, Facts(0.1, None, 10))
    assert "full" in THEOREMS["ef21-sgd"].lacks(noisy, Facts(0.1, None, 10))
    assert "participation" in THEOREMS["ef21-sgdm"].lacks(noisy, Facts(0.1, None, 10, 0.5))
    assert THEOREMS["ef21-pp"].lacks(exact, Facts(0.1, None, 10, 0.5)) == ""
    assert THEOREMS["ef21-sgdm"].lacks(noisy, Facts(0.1, None, 10)) == ""


def test_unbiased_methods_without_compression_step_as_gradient_descent() -> None:
    f = Facts(1.0, 0.0, 10)
    assert gamma("marina", given(), f) == gamma("dasha", given(), f) == 0.5


def test_marina_with_more_whole_rounds_steps_further_and_dasha_has_but_one_a() -> None:
    steps = [gamma("marina", given(), Facts(None, 9.0, 10, hyper={"p": p})) for p in (0.05, 0.1, 0.5, 1.0)]
    assert steps == sorted(steps) and steps[-1] == 0.5
    assert gamma("marina", given(), Facts(None, 9.0, 10)) == steps[1]
    assert "hyper.a" in THEOREMS["dasha"].lacks(given(), Facts(None, 9.0, 10, hyper={"a": 1.0}))
    assert THEOREMS["dasha"].lacks(given(sigma_sq=1.0), Facts(None, 9.0, 10)) == ""


def test_the_agnostic_schedule_is_a_decay() -> None:
    schedule = eta("ef21-igt-norm", given(), Facts(None, None, 10))
    assert [schedule(r) for r in (1, 2, 5)] == pytest.approx([(2 / (t + 2)) ** (4 / 7) for t in (0, 1, 4)])
    assert THEOREMS["ef21-igt-norm"].gamma is None


@pytest.mark.parametrize("value", [1.0, 0.123456, 9.9999e-7, 1234567.0, 0.1, 3e-5])
def test_rounding_is_downwards_to_four_digits(value: float) -> None:
    assert rounded(value) <= value and rounded(value) >= value * (1 - 1.1e-3)
    assert rounded(rounded(value)) == rounded(value)


def test_the_table_has_the_paper_s_orders() -> None:
    c = given(sigma_sq=9.0)
    rows = {row.method: row for row in table(c, 0.01, 10, 0.1)}
    L, tilde, d0, n = 2.0, 3.0, 5.0, 10
    sgdm, double = rows["ef21-sgdm"], rows["ef21-sgd2m"]
    assert sgdm.terms["eps^-2"] == pytest.approx(tilde * d0 / (0.01 * 0.01))
    assert sgdm.terms["eps^-8/3"] == pytest.approx(L * d0 * 9 ** (1 / 3) / (0.01 ** (2 / 3) * 0.1 ** (8 / 3)))
    assert sgdm.terms["eps^-3"] == pytest.approx(L * d0 * 3 / (0.1 * 1e-3))
    assert sgdm.terms["eps^-4"] == pytest.approx(L * d0 * 9 / (n * 1e-4))
    assert double.rounds == pytest.approx(sgdm.rounds - sgdm.terms["eps^-3"]) and sgdm.batch == 1
    assert rows["ef21-sgd"].samples == pytest.approx(tilde * d0 * 9 / (0.01**3 * 1e-4))
    assert rows["beer"].samples == pytest.approx(tilde * d0 * 9 / (0.01**2 * 1e-4))
    assert table(c, 0.01, 10, 1e-3)[1].samples == pytest.approx(L * d0 * 9 / (n * 1e-12))
    assert [row.method for row in rows.values() if row.batch_free] == ["ef14", "ef21-sgdm", "ef21-sgd2m"]
    assert {row.method for row in rows.values() if row.assumes} == {"ef14", "neolithic"}
    assert sgdm.coordinates == pytest.approx(10 * sgdm.rounds)


def test_as_eps_falls_only_the_term_with_n_is_left() -> None:
    few, many = given(sigma_sq=9.0, n=1), given(sigma_sq=9.0, n=10)
    speedup = [table(few, 0.01, 10, eps)[4].rounds / table(many, 0.01, 10, eps)[4].rounds for eps in (1.0, 1e-7)]
    assert speedup[0] < 2 and speedup[1] > 9.9


def test_without_noise_sgdm_and_ef21_need_the_same() -> None:
    rows = {row.method: row for row in table(given(), 0.01, 10, 0.1)}
    assert rows["ef21-sgdm"].rounds == rows["ef21-sgd"].rounds and rows["ef21-sgd"].batch == 1
