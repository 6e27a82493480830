"""Intervals and fronts against what they are by definition."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.study.bootstrap import interval
from scenarios.study.pareto import beats, front

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=1, max_size=5))
def test_the_interval_lies_between_the_least_and_the_largest_and_holds_the_mean(values: list[float]) -> None:
    found = interval(values)
    assert found.n == len(values) and math.isclose(found.mean, float(np.mean(values)), abs_tol=1e-9)
    if len(values) > 1:
        slack = 1e-9 * (1 + max(map(abs, values)))
        assert min(values) - slack <= found.low <= found.mean + slack
        assert found.mean - slack <= found.high <= max(values) + slack


def test_of_few_values_it_is_the_quantile_over_every_resample() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    means = sorted(sum(pick) / 4 for pick in itertools.product(values, repeat=4))
    found = interval(values)
    assert found.low == means[math.ceil(0.025 * len(means)) - 1]
    assert found.high == means[math.ceil(0.975 * len(means)) - 1]


def test_of_many_values_it_is_near_the_normal_one_and_always_the_same() -> None:
    x = np.random.default_rng(1).normal(size=400)
    found = interval(list(x))
    half = 1.96 * x.std() / math.sqrt(len(x))
    assert found.high - found.low == pytest.approx(2 * half, rel=0.05)
    assert interval(list(x)) == found


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert math.isnan(interval([3.0]).low) and interval([3.0]).mean == 3.0
    assert math.isnan(interval([]).mean)
    assert interval([1.0, math.inf]).mean == math.inf


def test_pairing_takes_out_what_seeds_have_in_common() -> None:
    base = [1.0, 50.0, 100.0]
    better = [v + d for v, d in zip(base, (1.0, 1.1, 0.9), strict=True)]
    apart = interval([a - b for a, b in zip(better, base, strict=True)])
    assert apart.low > 0 and interval(better).low < interval(base).high


def test_the_front_of_a_drawn_example() -> None:
    points = [(1.0, 5.0), (2.0, 2.0), (3.0, 3.0), (5.0, 1.0), (5.0, 1.0), (0.5, math.nan)]
    assert front(points) == [True, True, False, True, True, False]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_what_is_off_the_front_is_beaten_by_something_on_it(points: list[tuple[int, int, int]]) -> None:
    on = front(points)
    assert any(on)
    for point, flag in zip(points, on, strict=True):
        assert flag != any(beats(other, point) for other, good in zip(points, on, strict=True) if good)
