"""Partitions: what every scheme promises, and what sets each apart."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_ef21.data import Dataset, load
from fl_ef21.errors import InputError
from fl_ef21.partition import SCHEMES, label_counts, split

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("FL_EF21_DATA", ROOT / "../shared/data"))


def toy(labels: Any, groups: Any = None) -> Dataset:
    """A data set whose features do not matter."""
    labels = np.asarray(labels, dtype=np.int64)
    none = np.zeros((0, 1), np.float32)
    names = () if groups is None else tuple(f"g{i}" for i in range(max(groups) + 1))
    return Dataset(
        name="toy",
        features=np.zeros((len(labels), 1), np.float32),
        labels=labels,
        classes=tuple(map(str, range(labels.max() + 1))),
        test_features=none,
        test_labels=labels[:0],
        groups=None if groups is None else np.asarray(groups, dtype=np.int64),
        group_names=names,
    )


DATA = load("synthetic", samples=1200, classes=6, groups=12, test_fraction=0)
MOST = {"exponential": 6}  # clients: with more the first has no sample


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(deadline=None, max_examples=10)
@given(clients=st.integers(1, 12), seed=st.integers(0, 2**40))
def test_parts_are_sorted_disjoint_not_empty_and_hold_every_sample(scheme: str, clients: int, seed: int) -> None:
    clients = min(clients, MOST.get(scheme, clients))
    parts = split(DATA, clients=clients, scheme=scheme, seed=seed, alpha=1.0, classes_per_client=6)
    assert len(parts) == clients
    for part in parts:
        assert part.dtype == np.int64
        assert len(part) > 0
        assert np.all(np.diff(part) > 0)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(DATA)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_seed_decides_everything_a_scheme_draws(scheme: str) -> None:
    clients = MOST.get(scheme, 12)
    first, again, other = (split(DATA, clients=clients, scheme=scheme, seed=seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    same = all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert same == (scheme in ("natural", "label-sorted"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_splitting_is_silent(scheme: str, capfd: pytest.CaptureFixture[str]) -> None:
    before = list(warnings.filters)
    split(DATA, clients=2, scheme=scheme, seed=0)
    assert capfd.readouterr() == ("", "")
    assert list(warnings.filters) == before


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(1, 60), share=st.floats(0, 1))
def test_iid_sizes_differ_by_at_most_one(samples: int, share: float) -> None:
    clients = max(1, round(share * samples))
    parts = split(toy(np.arange(samples) % 2), clients=clients, scheme="iid", seed=1)
    assert np.ptp([len(part) for part in parts]) <= 1
    assert sum(map(len, parts)) == samples


@pytest.mark.parametrize("clients", [1, 3, 7, 60])
def test_iid_cuts_where_flwr_datasets_does(clients: int) -> None:
    import datasets
    from flwr_datasets.partitioner import IidPartitioner

    theirs = IidPartitioner(clients)
    theirs.dataset = datasets.Dataset.from_dict({"row": np.random.default_rng(4).permutation(61)})
    ours = split(toy(np.arange(61) % 2), clients=clients, scheme="iid", seed=4)
    assert [part.tolist() for part in ours] == [sorted(theirs.load_partition(i)["row"]) for i in range(clients)]


def test_iid_draws_from_sorted_data() -> None:
    data = toy(np.repeat(np.arange(4), 500))
    counts = label_counts(data, split(data, clients=4, scheme="iid", seed=0))
    assert np.all(np.abs(counts - 125) < 50)  # hypergeometric, deviation 9


def test_label_sorted_is_a_stable_sort_cut_into_equal_shards() -> None:
    data = toy([1, 0, 2, 1, 0, 2, 0])
    parts = split(data, clients=3, scheme="label-sorted", seed=0)
    assert [part.tolist() for part in parts] == [[1, 4, 6], [0, 3], [2, 5]]


def test_dirichlet_is_more_skewed_for_a_smaller_alpha() -> None:
    data = toy(np.arange(4000) % 4)

    def skew(alpha: float) -> float:
        counts = label_counts(data, split(data, clients=8, scheme="dirichlet", seed=2, alpha=alpha))
        return float((counts / counts.sum(axis=0)).std())  # sqrt((1/8)(7/8) / (8 alpha + 1)) on average

    for alpha in (0.3, 3.0, 300.0):
        expected = np.sqrt((1 / 8) * (7 / 8) / (8 * alpha + 1))
        assert 0.5 * expected < skew(alpha) < 1.6 * expected


def test_dirichlet_gives_every_client_the_fewest_samples_asked_for() -> None:
    parts = split(DATA, clients=10, scheme="dirichlet", seed=0, alpha=1.0, min_samples=40)
    assert min(map(len, parts)) >= 40


def test_pathological_clients_hold_as_many_classes_as_asked_and_share_them_evenly() -> None:
    data = toy(np.arange(1000) % 10)
    counts = label_counts(data, split(data, clients=20, scheme="pathological", seed=0, classes_per_client=3))
    assert np.all((counts > 0).sum(axis=1) == 3)
    assert counts.sum() == 1000
    for of_class in counts.T:
        assert np.ptp(of_class[of_class > 0]) <= 1


def test_pathological_leaves_out_the_classes_that_nobody_drew() -> None:
    data = toy(np.arange(100) % 10)
    parts = split(data, clients=2, scheme="pathological", seed=0, classes_per_client=1)
    assert [np.unique(data.labels[part]).tolist() for part in parts] == [[0], [1]]


def test_natural_clients_are_the_groups() -> None:
    parts = split(toy([0, 1, 0, 1], [2, 0, 1, 2]), clients=3, scheme="natural", seed=0)
    assert [part.tolist() for part in parts] == [[1], [2], [0, 3]]


def test_natural_groups_are_dealt_to_fewer_clients_in_turn() -> None:
    parts = split(toy([0, 1, 0, 1, 0], [0, 1, 2, 3, 4]), clients=2, scheme="natural", seed=0)
    assert [part.tolist() for part in parts] == [[0, 2, 4], [1, 3]]


def test_label_counts_are_counted_per_client_and_class() -> None:
    counts = label_counts(toy([0, 2, 2, 0, 1]), [np.array([0, 1, 2]), np.array([3])])
    assert counts.tolist() == [[1, 0, 2], [1, 0, 0]]
    assert counts.dtype == np.int64


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"scheme": "irichlet"}, "partition.scheme", "did you mean 'dirichlet'"),
        ({"scheme": "iid", "clients": 1201}, "partition.clients", "1200 training samples"),
        ({"scheme": "iid", "clients": 0}, "partition.clients", "at least 1"),
        ({"scheme": "iid", "clients": 2.0}, "partition.clients", "whole number"),
        ({"scheme": "iid", "seed": -1}, "partition.seed", "at least 0"),
        ({"scheme": "iid", "clients": 600, "min_samples": 3}, "partition.min_samples", "only 2 samples"),
        ({"scheme": "iid", "min_samples": 0}, "partition.min_samples", "at least 1"),
        ({"scheme": "dirichlet", "alpha": 0}, "partition.alpha", "(0, 1e6]"),
        ({"scheme": "dirichlet", "alpha": float("nan")}, "partition.alpha", "(0, 1e6]"),
        ({"scheme": "dirichlet", "alpha": float("inf")}, "partition.alpha", "(0, 1e6]"),
        ({"scheme": "dirichlet", "alpha": 1e-3, "clients": 100}, "partition.alpha", "raise alpha"),
        ({"scheme": "dirichlet", "min_samples": 400}, "partition.min_samples", "need more than the 1200"),
        ({"scheme": "pathological", "classes_per_client": 0}, "partition.classes_per_client", "at least 1"),
        ({"scheme": "pathological", "classes_per_client": 7}, "partition.classes_per_client", "at most 6"),
        ({"scheme": "pathological", "clients": 1200}, "partition.clients", "lower clients"),
        ({"scheme": "natural", "clients": 13}, "partition.clients", "12 clients in the data"),
    ],
)
def test_what_cannot_be_split_is_refused_with_what_to_change(asked: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        split(DATA, **({"clients": 4, "seed": 0} | asked))
    assert caught.value.field == field
    assert words in caught.value.advice


def test_data_without_clients_of_their_own_have_no_natural_split() -> None:
    with pytest.raises(InputError, match="names no clients"):
        split(toy([0, 1]), clients=2, scheme="natural", seed=0)


def test_mnist_sorted_by_label_gives_ten_clients_about_one_class_each() -> None:
    if not (REAL / "mnist").exists():
        pytest.skip("the data set mnist is not here; FL_EF21_DATA names the folder that holds it")
    data = load("mnist", path=REAL / "mnist")
    counts = label_counts(data, split(data, clients=10, scheme="label-sorted", seed=0))
    assert counts.sum(axis=1).tolist() == [6000] * 10
    assert np.all(np.diagonal(counts) > 5000)
