"""Contracts of every robust rule, alone and behind every mixing, and each rule beside a slow one written otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import trim_mean
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.errors import InputError
from fl_ef21.threads import computing_with
from strategies.robust import GeometricMedian, Krum, Mean, Median, TrimmedMean, pairwise
from strategies.robust_mixing import Bucketing, Nearest
from strategies.robust_named import Aggregate, aggregate_of

N, BAD = 10, 2  # a share of 0.2
RULES = ("median", "trimmed-mean:0.2", "geometric-median", "krum:0.2", "krum:share=0.2,keep=3", "multi-krum:0.2")
ALL = [aggregate_of(rule, mixing) for rule in RULES for mixing in (None, "bucketing:2", "nnm:0.2")]
every = pytest.mark.parametrize("aggregate", ALL, ids=repr)
# neighbours' means are often equal, and which of them Krum takes is up to rounding
STEADY = [one for one in ALL if not (isinstance(one.rule, Krum) and isinstance(one.mixing, Nearest))]
steady = pytest.mark.parametrize("aggregate", STEADY, ids=repr)
EQUAL = torch.full((N,), 1 / N, dtype=torch.float64)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As the server computes; a second one is not worth waking for so little."""
    with computing_with(1):
        yield


def rows(seed: int, n: int = N, d: int = 5) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(seed: int, n: int = N) -> Tensor:
    w = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5
    return w / w.sum()


seeds = st.integers(0, 2**32)


def bad_rows(kind: str, good: Tensor, seed: int) -> Tensor:
    """What a few attackers might send."""
    if kind == "far":
        return rows(seed, BAD, good.shape[1]) * 1e30
    if kind == "near":
        return rows(seed, BAD, good.shape[1]) * 3
    if kind == "alike":
        return (good.mean(dim=0) + 1.5 * good.std(dim=0)).expand(BAD, -1)
    return -20 * good.mean(dim=0).expand(BAD, -1)


@every
@settings(max_examples=20, deadline=None)
@given(seed=seeds, kind=st.sampled_from(["far", "near", "alike", "turned"]), apart=st.sampled_from([1e-3, 1.0, 1e3]))
def test_bad_rows_move_it_no_further_than_it_claims(aggregate: Aggregate, seed: int, kind: str, apart: float) -> None:
    good = rows(seed, N - BAD) * apart + 7
    place = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    G = torch.cat([good, bad_rows(kind, good, seed + 1)])[place]
    spread = (good - good.mean(dim=0)).square().sum(dim=1).mean()
    moved = (aggregate(G, EQUAL, seed % 100) - good.mean(dim=0)).square().sum()
    assert moved <= aggregate.kappa(BAD / N) * spread * (1 + 1e-6)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(0.2), GeometricMedian()], ids=repr)
@settings(max_examples=20, deadline=None)
@given(seed=seeds)
def test_it_claims_the_same_of_clients_that_weigh_more(rule, seed: int) -> None:
    w = torch.tensor([0.2, 0.1, 0.1, 0.3, 0.3], dtype=torch.float64)
    good, v = rows(seed, 4), w[1:] / 0.8
    G = torch.cat([torch.full((1, 5), 1e30, dtype=torch.float64), good])
    middle = v @ good
    spread = v @ (good - middle).square().sum(dim=1)
    assert (rule(G, w) - middle).square().sum() <= rule.kappa(0.2) * spread


def test_more_bad_rows_than_it_is_set_for_can_lead_it_anywhere() -> None:
    good, w = rows(0, 6), torch.full((10,), 0.1, dtype=torch.float64)
    G = torch.cat([good, torch.full((4, 5), 1e6, dtype=torch.float64)])
    assert TrimmedMean(0.3)(G, w).norm() > 1e4 and TrimmedMean(0.3).kappa(0.4) == float("inf")
    assert TrimmedMean(0.4)(G, w).norm() < 10 and TrimmedMean(0.4).kappa(0.4) < float("inf")
    assert Mean()(G, w).norm() > 1e4 and Mean().kappa(0.1) == float("inf") and Mean().kappa(0) == 0
    assert Median().kappa(0.5) == Krum(0.2).kappa(0.3) == Nearest(0.2).kappa(1.0, 0.3) == float("inf")


@every
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_of_rows_that_are_all_equal_it_is_that_row(aggregate: Aggregate, seed: int) -> None:
    row = rows(seed, 1)
    assert torch.allclose(aggregate(row.expand(N, -1), weights(seed), 1), row[0], rtol=1e-12)


@steady
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_it_moves_and_grows_with_its_rows(aggregate: Aggregate, seed: int) -> None:
    G, w, by = rows(seed), weights(seed), rows(seed + 1, 1)[0]
    assert torch.allclose(aggregate(-3 * G + by, w, 1), -3 * aggregate(G, w, 1) + by, atol=1e-6)


@pytest.mark.parametrize("aggregate", [a for a in STEADY if not isinstance(a.mixing, Bucketing)], ids=repr)
@given(seed=seeds)
@settings(max_examples=8, deadline=None)
def test_the_order_of_clients_is_of_no_matter(aggregate: Aggregate, seed: int) -> None:
    G, w = rows(seed), weights(seed)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(aggregate(G[order], w[order], 1), aggregate(G, w, 1), atol=1e-7)


@every
@pytest.mark.parametrize("d", [1, 5])
def test_it_leaves_its_rows_alone_and_says_the_same_again(aggregate: Aggregate, d: int) -> None:
    G, w = rows(1, d=d).to(torch.float32), weights(1)
    before = G.clone(), w.clone()
    assert torch.equal(aggregate(G, w, 3), aggregate(G, w, 3))
    assert torch.equal(G, before[0]) and torch.equal(w, before[1])


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_numbers_there_are_make_no_nan(aggregate: Aggregate, dtype: torch.dtype) -> None:
    G = rows(2).to(dtype)
    G[:BAD] = torch.finfo(dtype).max
    G[0] *= -1
    found = aggregate(G, EQUAL, 1)
    assert found.isfinite().all() and found.norm() < 100


@every
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_clients_are_no_error(aggregate: Aggregate, n: int) -> None:
    G = rows(3, n)
    found = aggregate(G, torch.full((n,), 1 / n, dtype=torch.float64), 1)
    assert (found >= G.min(dim=0).values - 1e-12).all() and (found <= G.max(dim=0).values + 1e-12).all()


@pytest.mark.parametrize("aggregate", [a for a in ALL if a.coordinatewise], ids=repr)
def test_a_coordinatewise_rule_looks_at_nothing_else(aggregate: Aggregate) -> None:
    G, w = rows(4, d=3000), weights(4)
    some = torch.tensor([0, 17, 2999])
    assert torch.equal(aggregate(G, w, 1)[some], aggregate(G[:, some], w, 1))


@given(seed=seeds, n=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_with_equal_weights_they_are_numpys_and_scipys(seed: int, n: int) -> None:
    G, w = rows(seed, n), torch.full((n,), 1 / n, dtype=torch.float64)
    assert np.allclose(Median()(G, w), np.median(G, axis=0))
    assert np.allclose(TrimmedMean(1 / n if n > 2 else 0)(G, w), trim_mean(G, 1 / n if n > 2 else 0, axis=0))
    assert np.allclose(Mean()(G, w), G.mean(dim=0))


@given(seed=seeds, counts=st.lists(st.integers(1, 4), min_size=2, max_size=6))
@example(seed=1, counts=[3, 3])  # whose geometric medians are all points between two rows
@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("rule", [Median(), TrimmedMean(0.15), TrimmedMean(0.4), GeometricMedian()], ids=repr)
def test_a_row_that_weighs_three_times_as_much_is_three_rows(rule, seed: int, counts: list[int]) -> None:
    G, times = rows(seed, len(counts)), torch.tensor(counts)
    total = int(times.sum())
    many = rule(G.repeat_interleave(times, dim=0), torch.full((total,), 1 / total, dtype=torch.float64))
    assert torch.allclose(rule(G, times / times.sum().double()), many, atol=1e-6)


@given(seed=seeds)
@settings(max_examples=10, deadline=None)
def test_the_geometric_median_is_where_a_minimiser_finds_it(seed: int) -> None:
    G, w = rows(seed), weights(seed)

    def cost(z: np.ndarray) -> float:
        return float(w @ (G - torch.from_numpy(z)).norm(dim=1))

    slow = minimize(cost, G.mean(dim=0).numpy(), method="Nelder-Mead", options={"maxiter": 20000, "fatol": 1e-13})
    assert cost(GeometricMedian()(G, w).numpy()) <= slow.fun * (1 + 1e-9)


def slow_krum(G: Tensor, share: float, keep: int) -> Tensor:
    n, f = len(G), round(share * len(G))
    score = [sum(sorted(float((G[i] - G[j]).square().sum()) for j in range(n))[: n - f]) for i in range(n)]
    return G[sorted(range(n), key=lambda i: score[i])[:keep]].mean(dim=0)


@given(seed=seeds, keep=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_krum_keeps_the_rows_that_have_the_nearest_neighbours(seed: int, keep: int) -> None:
    G = rows(seed)
    assert torch.allclose(Krum(0.2, keep)(G, EQUAL), slow_krum(G, 0.2, keep))


@given(seed=seeds)
@settings(max_examples=20, deadline=None)
def test_nearest_neighbour_mixing_takes_the_nearest(seed: int) -> None:
    G, w = rows(seed), weights(seed)
    mixed, same = Nearest(0.2)(G, w, randomness.key(0, "mixing"))
    assert torch.equal(same, w)
    for i in range(N):
        near = sorted(range(N), key=lambda j: float((G[i] - G[j]).square().sum()))[: N - BAD]
        assert torch.allclose(mixed[i], (w[near] @ G[near]) / w[near].sum())


@given(seed=seeds, n=st.integers(1, 11), size=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_buckets_hold_everybody_once(seed: int, n: int, size: int) -> None:
    G, w = rows(seed, n), weights(seed, n)
    mixed, weight = Bucketing(size)(G, w, randomness.key(seed, "mixing"))
    assert len(mixed) == -(-n // size)
    assert torch.allclose(weight @ mixed, w @ G) and float(weight.sum()) == pytest.approx(1)
    means = [w[list(some)] @ G[list(some)] / w[list(some)].sum() for some in combinations(range(n), min(n, size))]
    assert sum(any(torch.allclose(row, mean) for mean in means) for row in mixed) >= n // size


def test_buckets_are_dealt_anew_in_every_round_and_for_every_seed() -> None:
    G, w = rows(5, 40), weights(5, 40)
    found = [aggregate_of("median", "bucketing:2", seed)(G, w, round) for seed in (0, 1) for round in (1, 2)]
    assert len({tuple(one.tolist()) for one in found}) == 4


def test_distances_are_exact_beside_a_row_that_is_far_away() -> None:
    G = torch.cat([rows(6, 4) * 1e-6 + 1000, torch.full((1, 5), 1e18, dtype=torch.float64)])
    assert torch.allclose(pairwise(G)[:4, :4], torch.cdist(G, G)[:4, :4].square(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("words", "means"),
    [
        (("median",), Aggregate(Median())),
        (("trimmed-mean:0.2",), Aggregate(TrimmedMean(0.2))),
        (("krum:share=0.2,keep=3", None), Aggregate(Krum(0.2, 3))),
        (("multi-krum:0.2", "nnm:0.2"), Aggregate(Krum(0.2, 0), Nearest(0.2))),
        (("trimmed-mean:0.2", "bucketing:2"), Aggregate(TrimmedMean(0.4), Bucketing(2))),
        (("geometric-median", "bucketing"), Aggregate(GeometricMedian(), Bucketing(2))),
    ],
)
def test_a_word_means_what_it_says(words: tuple[str, ...], means: Aggregate) -> None:
    assert aggregate_of(*words) == means


@pytest.mark.parametrize(
    ("words", "field", "told"),
    [
        (("medium",), "aggregate", "median"),
        (("median:3",), "aggregate", "name:number"),
        (("trimmed-mean",), "aggregate.share", "missing"),
        (("trimmed-mean:0.5",), "aggregate.share", "below 0.5"),
        (("krum:0.2,keep=-1",), "aggregate.keep", "whole number"),
        (("krum:0.2,n=3",), "aggregate.n", "share, keep"),
        (("median", "buckets:2"), "mixing", "bucketing"),
        (("median", "bucketing:1.5"), "mixing.size", "whole number"),
        (("median", "nnm:0.7"), "mixing.share", "below 0.5"),
        (("krum:0.2", "bucketing:3"), "mixing", "smaller buckets"),
        (("mean", "bucketing:2"), "mixing", "no meaning"),
    ],
)
def test_a_mistake_is_told(words: tuple[str, ...], field: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        aggregate_of(*words)
    assert caught.value.field == field and told in str(caught.value)
