"""Messages that are multiples and sums of others say what these say."""

from __future__ import annotations

import pytest
import torch

from fl_ef21 import randomness, wire
from fl_ef21.arranging import added_up
from fl_ef21.compressors import make
from fl_ef21.messages import Compressed, Indices

N, D = 4, 30
U = torch.sin(torch.arange(N * D, dtype=torch.float64) ** 2).reshape(N, D)
OPTIONS = {
    "topk": {"k": 3}, "hard-threshold": {"threshold": 0.8}, "randk": {"k": 3}, "sign": {}, "qsgd": {"levels": 7},
    "identity": {},
}  # fmt: skip


def message(name: str, u: torch.Tensor, call: int = 0) -> Compressed:
    keys = randomness.keys(1, f"test {call}", torch.arange(N), 1)
    return make(name, dim=D, shapes=(("x", (D,)),), **OPTIONS[name])(u, keys)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_multiple_says_the_multiple_on_the_same_coordinates(name: str) -> None:
    c = message(name, U)
    scaled = 0.25 * c
    assert torch.equal(scaled.dense(), 0.25 * c.dense()) and torch.equal(scaled.counts, c.counts)
    back, refused = wire.decode(wire.encode(scaled), wire.Spec.of(scaled))
    assert not refused and torch.equal(back.dense(), scaled.dense())


@pytest.mark.parametrize("name", OPTIONS)
def test_a_sum_says_the_sum(name: str) -> None:
    parts = [message(name, U), message(name, U.flip(1), 1), message(name, U.roll(5, 1), 2)]
    total = added_up(parts)
    assert torch.allclose(total.dense(), sum(part.dense() for part in parts), rtol=0, atol=1e-12)
    back, refused = wire.decode(wire.encode(total), wire.Spec.of(total))
    assert not refused and torch.equal(back.dense(), total.dense())


def test_the_sum_of_sparse_messages_is_as_sparse_as_their_union() -> None:
    total = added_up([message("topk", U), message("topk", -U), message("topk", U.roll(1, 1))])
    assert isinstance(total.support, Indices) and int(total.counts.max()) <= 6
