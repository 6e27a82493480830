"""Figures of fairness: closed forms, and what holds for any values."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scenarios.spreads import gini, jain, quartiles, spearman, spread

SHARES = st.lists(st.floats(0, 1e6), min_size=1, max_size=40).map(np.array)


@given(SHARES)
def test_jain_lies_between_one_nth_and_one(x: np.ndarray) -> None:
    found = jain(x)
    assert found is not None and 1 / len(x) - 1e-12 <= found <= 1 + 1e-12


@given(SHARES)
def test_gini_lies_between_zero_and_one(x: np.ndarray) -> None:
    found = gini(x)
    assert found is not None and -1e-12 <= found <= 1 - 1 / len(x) + 1e-12


@pytest.mark.parametrize("n", [1, 2, 7])
def test_where_all_have_the_same_both_say_so(n: int) -> None:
    assert jain(np.full(n, 0.3)) == pytest.approx(1) and gini(np.full(n, 0.3)) == pytest.approx(0)
    assert jain(np.zeros(n)) == 1 and gini(np.zeros(n)) == 0


@pytest.mark.parametrize("n", [1, 2, 7])
def test_where_one_has_all_both_say_so(n: int) -> None:
    x = np.zeros(n)
    x[n // 2] = 4.0
    assert jain(x) == pytest.approx(1 / n) and gini(x) == pytest.approx(1 - 1 / n)


def test_gini_is_the_mean_difference_over_twice_the_mean() -> None:
    x = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    assert gini(x) == pytest.approx(np.abs(x[:, None] - x).sum() / (2 * len(x) * x.sum()))


@given(SHARES, st.floats(1e-3, 1e3))
def test_neither_depends_on_the_unit(x: np.ndarray, unit: float) -> None:
    assert jain(unit * x) == pytest.approx(jain(x)) and gini(unit * x) == pytest.approx(gini(x), abs=1e-9)


@pytest.mark.parametrize("index", [jain, gini])
def test_of_values_below_zero_there_is_no_index(index: Callable[[np.ndarray], float | None]) -> None:
    assert index(np.array([1.0, -0.1])) is None


def test_the_worst_decile_is_the_mean_of_the_worst_tenth() -> None:
    x = np.arange(20.0)
    accuracy, loss = spread(x, low_is_bad=True), spread(x, low_is_bad=False)
    assert accuracy is not None and loss is not None
    assert (accuracy["worst_decile"], accuracy["best_decile"]) == (0.5, 18.5)
    assert (loss["worst_decile"], loss["best_decile"]) == (18.5, 0.5)
    assert [accuracy[f"q{q}"] for q in (0, 10, 50, 100)] == pytest.approx([0, 1.9, 9.5, 19])
    assert accuracy["variance"] == 33.25


def test_who_has_no_number_is_left_out() -> None:
    found = spread(np.array([math.nan, 1.0, math.inf, 3.0]), True)
    assert found is not None and (found["clients"], found["mean"]) == (2, 2.0)
    assert spread(np.array([math.nan]), True) is None and spread(np.empty(0), True) is None


def test_figures_of_huge_losses_are_numbers_or_missing() -> None:
    found = spread(np.array([1.0, 1e300, 1e308, 1.7e308]), False)
    assert found is not None and all(value is None or math.isfinite(value) for value in found.values())


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_the_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert spearman(a, b) is None
    else:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_ranks_are_of_those_for_whom_both_are_known() -> None:
    a, b = np.array([1.0, 2.0, math.nan, 9.0, 3.0]), np.array([1.0, 4.0, 0.0, math.nan, 9.0])
    assert spearman(a, b) == pytest.approx(1.0) and spearman(a, np.full(5, math.nan)) is None


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_quartiles_hold_everybody_once_in_order_of_size(sizes: list[int]) -> None:
    groups = quartiles(np.array(sizes))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
    held = [[sizes[i] for i in rows] for rows in groups]
    assert all(max(a) <= min(b) for a, b in pairwise(held))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
