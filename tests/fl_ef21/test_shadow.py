"""What shadow compressors are said to keep and to cost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fl_ef21 import wire
from fl_ef21.compressors.identity import Identity
from fl_ef21.compressors.natural import Natural
from fl_ef21.compressors.topk import TopK
from fl_ef21.shadow import Seen, means, pack, weigh
from fl_ef21.types import Compressor

KEYS = torch.arange(3)
U = torch.sin(torch.arange(3 * 50, dtype=torch.float32) ** 2).reshape(3, 50)


def test_bytes_are_those_of_the_encoded_messages_and_energy_that_of_what_is_decoded() -> None:
    figures = weigh(U, lambda u: TopK(4)(u, KEYS))
    largest = U.double().square().sort(dim=1, descending=True).values
    assert np.allclose(figures[:, 1], (largest[:, :4].sum(dim=1) / largest.sum(dim=1)).numpy(), rtol=1e-12)
    assert figures[:, 0].tolist() == [len(payload) for payload in wire.encode(TopK(4)(U, KEYS))]


def test_who_sends_everything_keeps_everything() -> None:
    assert (weigh(U, lambda u: Identity()(u, KEYS))[:, 1] == 1).all()


def test_a_vector_of_zeros_has_bytes_but_no_energy_to_keep() -> None:
    figures = weigh(torch.zeros(1, 50), lambda u: TopK(4)(u, KEYS[:1]))
    assert figures[0, 0] > 0 and math.isnan(figures[0, 1])


@pytest.mark.parametrize("C", [TopK(4), Natural()], ids=repr)
def test_what_cannot_be_sent_has_no_figures(C: Compressor) -> None:
    assert np.isnan(weigh(U * torch.nan, lambda u: C(u, KEYS))).all()


def test_means_are_over_those_who_had_something_to_say() -> None:
    own, other = np.array([[10, 0.5], [20, np.nan]]), np.array([[np.nan, np.nan], [np.nan, np.nan]])
    named = [("own", 0.1), ("sign", None)]
    assert means(named, [*pack([own, other]), b""]) == [
        Seen("own", 0.1, 2, 15.0, 0.5),
        Seen("sign", None, 0, None, None),
    ]


def test_replies_that_are_no_figures_are_passed_over() -> None:
    assert means([("own", None)], [b"", b"1234567", bytes(32)]) == [Seen("own", None, 0, None, None)]
