"""The server's rows: what they add up to, and that only what has changed is looked at again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.compressors.identity import Identity
from fl_ef21.compressors.randk import RandK
from fl_ef21.compressors.topk import TopK
from fl_ef21.threads import computing_with
from fl_ef21.types import Compressor
from strategies.robust_named import Aggregate, aggregate_of
from strategies.robust_rows import Rows

N, D = 9, 60
AGGREGATES = [
    aggregate_of("median"), aggregate_of("trimmed-mean:0.2"), aggregate_of("geometric-median"),
    aggregate_of("krum:0.2"),
    aggregate_of("median", "bucketing:2"), aggregate_of("trimmed-mean:0.2", "nnm:0.2"),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As the server computes; a second one is not worth waking for so little."""
    with computing_with(1):
        yield


def drawn(seed: int, n: int) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


@pytest.mark.parametrize("C", [TopK(7), RandK(5), Identity()], ids=repr)
@pytest.mark.parametrize("aggregate", AGGREGATES, ids=repr)
@pytest.mark.parametrize("equal", [True, False])
def test_after_many_rounds_it_is_the_rule_of_what_the_clients_hold(
    aggregate: Aggregate, C: Compressor, equal: bool
) -> None:
    weights = torch.ones(N).double() if equal else torch.arange(1, N + 1).double()
    weights /= weights.sum()
    rows, g = Rows(aggregate, torch.zeros(N, D)), torch.zeros(N, D)
    for round in range(1, 9):
        some = np.sort(np.random.default_rng(round).permutation(N)[:4])
        c = C(drawn(round, 4), randomness.keys(0, "c", torch.from_numpy(some), round))
        rows.add(some, c)
        g[some] = g[some] + c  # type: ignore[operator]  # as a client does
        assert torch.equal(rows.value(weights, round), aggregate(g, weights, round))
    assert torch.equal(rows.G, g)


def test_only_the_columns_that_changed_are_aggregated_again() -> None:
    looked_at = list[int]()

    class Counting(Aggregate):
        def __call__(self, G: Tensor, w: Tensor, round: int) -> Tensor:
            looked_at.append(G.shape[1])
            return super().__call__(G, w, round)

    word, weights = aggregate_of("median"), torch.full((N,), 1 / N, dtype=torch.float64)
    rows = Rows(Counting(word.rule), drawn(0, N))
    for round in range(3):
        rows.value(weights, round)
        rows.add(np.array([2, 5]), TopK(7)(drawn(round, 2), torch.zeros(2, dtype=torch.int64)))
    assert looked_at[0] == D and all(7 <= columns <= 14 for columns in looked_at[1:])


@pytest.mark.parametrize("aggregate", AGGREGATES, ids=repr)
def test_who_leaves_is_as_one_who_was_never_there(aggregate: Aggregate) -> None:
    weights = torch.full((N,), 1 / N, dtype=torch.float64)
    rows = Rows(aggregate, drawn(0, N))
    rows.value(weights, 1)
    weights[4] = 0
    rows.clear(4)
    others = np.delete(np.arange(N), 4)
    alone = Rows(aggregate, drawn(0, N)[torch.from_numpy(others)])
    assert torch.equal(rows.value(weights, 2), alone.value(torch.full((N - 1,), 1 / N, dtype=torch.float64), 2))
    assert not rows.G[4].any()
