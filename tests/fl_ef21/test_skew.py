"""Clients that hold different amounts and see differently, and how far their gradients are apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_ef21 import data, partition
from fl_ef21.errors import InputError
from fl_ef21.feature_skew import skewed
from fl_ef21.partition_sizes import sizes
from fl_ef21.problems.dissimilarity import dissimilarity
from scenarios.setup import prepare
from tests.small import scenario

DIGITS = data.load("digits")


def split(scheme: str, clients: int = 8, **more: float) -> list[np.ndarray]:
    return partition.split(DIGITS, clients=clients, scheme=scheme, seed=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["linear", "square", "log-normal", "inner-dirichlet"])
def test_every_sample_has_one_owner(scheme: str) -> None:
    parts = split(scheme)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(DIGITS)))
    assert len({len(part) for part in parts}) > 4


@pytest.mark.parametrize(("scheme", "power"), [("linear", 1), ("square", 2)])
def test_sizes_grow_with_the_client_s_number(scheme: str, power: int) -> None:
    held = np.array([len(part) for part in split(scheme)])
    wanted = np.arange(1.0, 9.0) ** power
    np.testing.assert_allclose(held / held.sum(), wanted / wanted.sum(), atol=8 / len(DIGITS))


def test_where_only_sizes_differ_labels_do_not() -> None:
    counts = partition.label_counts(DIGITS, split("linear", clients=4))
    share = counts / counts.sum(axis=1, keepdims=True)
    assert np.abs(share - share[-1]).max() < 0.08
    mixed = partition.label_counts(DIGITS, split("inner-dirichlet", clients=4, alpha=0.1, sigma=0.5))
    assert (mixed / mixed.sum(axis=1, keepdims=True)).max() > 0.4


@given(st.integers(1, 40), st.integers(0, 500), st.floats(0, 3), st.integers(1, 4))
def test_drawn_sizes_sum_up_and_nobody_has_less_than_it_must(n: int, more: int, sigma: float, least: int) -> None:
    found = sizes(n, n * least + more, 7, sigma, least)
    assert sum(found) == n * least + more and min(found) >= least
    if sigma == 0:
        assert max(found) - min(found) <= 1


def test_what_cannot_be_split_is_told() -> None:
    with pytest.raises(InputError, match=r"exponential gives some of 8 clients none"):
        split("exponential")
    with pytest.raises(InputError, match=r"partition\.min_samples = 900"):
        split("log-normal", min_samples=900)


def test_an_instrument_is_a_client_s_own_and_always_the_same() -> None:
    parts = split("iid", clients=4)
    for word in ("noise:0.5", "gain:0.3", "permute:4", "rotate:4"):
        once, again = (skewed(word, DIGITS.features, parts, 3) for _ in range(2))
        assert np.array_equal(once, again) and once.shape == DIGITS.features.shape
        assert not np.array_equal(once[parts[3]], DIGITS.features[parts[3]])
    noisy = skewed("noise:0.5", DIGITS.features, parts, 3) - DIGITS.features
    assert [round(float(noisy[part].std()), 2) for part in parts] == pytest.approx([0.125, 0.25, 0.375, 0.5], abs=0.01)
    turned = skewed("rotate:4", DIGITS.features, parts, 3)
    assert np.array_equal(turned[parts[0]], DIGITS.features[parts[0]])
    assert np.array_equal(np.rot90(turned[parts[1]], -1, axes=(-2, -1)), DIGITS.features[parts[1]])
    mixed = skewed("permute:2", DIGITS.features, parts, 3)
    before, after = (np.sort(x[parts[1]].reshape(len(parts[1]), -1)) for x in (DIGITS.features, mixed))
    assert np.array_equal(before, after)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nois:0.5", "did you mean 'noise'"),
        ("noise", "needs a number"),
        ("noise:-1", "must lie"),
        ("rotate:3", "2 or 4"),
    ],
)  # fmt: skip
def test_an_instrument_that_is_none_is_told(word: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        skewed(word, DIGITS.features, split("iid"), 0)


def test_dissimilarity_is_the_mean_square_distance_of_full_gradients() -> None:
    setup = prepare(scenario(train={"batch_size": "full", "dtype": "float64"}))
    problem = setup.problem
    x = torch.linspace(-1, 1, problem.dim, dtype=torch.float64)
    each = problem.gradients(x, torch.arange(problem.clients), 1)
    mean = problem.weights @ each
    found = dissimilarity(problem, x)
    assert found is not None and found[2] == problem.clients
    zeta = float(problem.weights @ (each - mean).square().sum(dim=1))
    assert found[:2] == pytest.approx((zeta, float(mean.square().sum())), rel=1e-6)


def test_clients_that_are_alike_have_none() -> None:
    setup = prepare(scenario(partition={"clients": 1, "scheme": "iid"}))
    found = dissimilarity(setup.problem, setup.problem.x0())
    assert found is not None and found[0] < 1e-12 * found[1]
    assert (
        dissimilarity(prepare(scenario(model={"name": "quadratic", "dim": 6, "bias": None})).problem, torch.zeros(6))
        is None
    )
