"""Proximal operators are the minimisers they say they are, and words that name none are told."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_ef21.errors import InputError
from strategies.prox import KINDS, L2, Ball, Box, Prox, mapping, prox_of

ALL = [prox_of(f"{name}:0.7") for name in KINDS]


@pytest.mark.parametrize("prox", ALL, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), gamma=st.floats(0.01, 10))
def test_no_other_point_is_better_than_the_prox(prox: Prox, seed: int, gamma: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    y = 2 * torch.randn(4, generator=rng, dtype=torch.float64)

    def cost(z: torch.Tensor) -> float:
        return prox.value(z) + float((z - y).square().sum()) / (2 * gamma)

    best = prox(y, gamma)
    assert math.isfinite(cost(best))
    for size in (1e-3, 0.1, 1.0):
        for _ in range(5):
            other = best + size * torch.randn(4, generator=rng, dtype=torch.float64)
            assert cost(best) <= cost(other) + 1e-9
    assert cost(best) <= cost(prox(torch.zeros_like(y), gamma)) + 1e-9  # r is nought at zero


@pytest.mark.parametrize("prox", ALL, ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_prox_never_takes_two_points_apart(prox: Prox, seed: int) -> None:
    a, b = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert (prox(a, 0.5) - prox(b, 0.5)).norm() <= (a - b).norm() * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("prox", [Box(0.1), Ball(0.1), Ball(3.7)], ids=repr)
def test_what_is_projected_is_inside_whatever_the_rounding(prox: Prox, dtype: torch.dtype) -> None:
    for seed in range(20):
        y = 5 * torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=dtype)
        assert prox.value(y) == math.inf and prox.value(prox(y, 0.3)) == 0


def test_l1_makes_small_entries_exactly_zero() -> None:
    y = torch.tensor([0.2, -0.2, 1.0, -1.0, 0.0])
    assert prox_of("l1:0.5")(y, 0.6).tolist() == pytest.approx([0.0, 0.0, 0.7, -0.7, 0.0])


def test_the_mapping_is_nought_exactly_where_f_and_r_are_stationary_together() -> None:
    """f = |x - a|^2 / 2 + l1: the minimum is the prox of a at gamma = 1."""
    a, prox = torch.tensor([2.0, -0.3, -5.0], dtype=torch.float64), prox_of("l1:1.0")
    best = prox(a, 1.0)
    assert mapping(prox, best, best - a, 0.2).norm() < 1e-14
    off = best + torch.tensor([0.0, 0.1, 0.0])
    assert mapping(prox, off, off - a, 0.2).norm() > 0.1


def test_with_a_smooth_r_the_mapping_tends_to_the_gradient_of_the_sum() -> None:
    x, gradient = torch.tensor([1.0, -2.0]), torch.tensor([0.3, 0.4])
    found = mapping(L2(0.5), x, gradient, 1e-7)
    assert torch.allclose(found, (gradient + 0.5 * x).double(), rtol=1e-5)


@pytest.mark.parametrize(
    ("word", "told"),
    [("bax:1", "did you mean 'box'"), ("l1", "l1:number"), ("l1:x", "l1:number"), ("box:-1", "> 0"), ("l2:nan", "> 0"),
     ("ball:inf", "> 0")],
)  # fmt: skip
def test_a_word_that_names_no_prox_is_told_what_would(word: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        prox_of(word)
