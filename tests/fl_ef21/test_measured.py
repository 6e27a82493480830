"""Evaluation by clients: sums of theirs come to f and to the accuracy, and a liar's numbers that cannot be stay out."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21.commit import Kind
from fl_ef21.measured import Measured, pack, weigh
from fl_ef21.problems import build
from fl_ef21.problems.local import stepping
from fl_ef21.types import Problem
from tests.fl_ef21.test_problems import CASES, everyone, one_thread, point, problem

__all__ = ["one_thread"]

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def told(*rows: tuple[float, float, float, float]) -> list[bytes]:
    return pack(torch.tensor(rows, dtype=torch.float64))


def f_of(p: Problem, x: torch.Tensor) -> Measured:
    ids = torch.arange(p.clients)
    return weigh(ids.numpy(), pack(p.sums(x, ids)), p.weights)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("weights", ["equal", "samples"])
def test_what_clients_sum_up_is_the_objective(name: str, options: dict[str, Any], weights: str) -> None:
    p = problem(name, options=options, weights=weights)
    assert f_of(p, point(p)).loss == pytest.approx(p.objective(point(p))[0], rel=1e-12)


def test_a_quadratic_is_summed_up_too() -> None:
    p = build("quadratic", clients=4, data=None, parts=None, options={"dim": 7}, batch_size=1, weights="equal", seed=1,
              dtype=torch.float64)  # fmt: skip
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)
    assert f_of(p, x).loss == pytest.approx(p.objective(x)[0], rel=1e-12)
    assert torch.equal(p.shard(range(2, 4)).sums(x, torch.tensor([3, 2])), p.sums(x, torch.tensor([3, 2])))


@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn"])
def test_a_clients_sums_do_not_depend_on_who_is_beside_it(name: str) -> None:
    p = stepping(problem(name), 2, 0.1)
    x, whole = point(p), p.sums(point(p), torch.arange(5))  # type: ignore[arg-type]
    for held in (range(2), range(2, 5), range(3, 4)):
        ids = torch.tensor(held)
        assert torch.equal(p.shard(held).sums(x, ids), whole[ids])


def test_working_in_small_pieces_adds_up_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem("mlp", options={"hidden": [4]})
    whole = p.sums(point(p), everyone(p))
    monkeypatch.setattr("fl_ef21.problems.sampled.EVALUATION", 64 * 3)
    assert torch.allclose(p.sums(point(p), everyone(p)), whole, rtol=1e-13)


def test_a_client_that_a_shard_does_not_hold_is_an_error() -> None:
    p = problem()
    with pytest.raises(IndexError, match="client 3 is not in this shard"):
        p.shard(range(3)).sums(point(p), torch.tensor([3]))


def test_the_mean_over_three_clients_is_as_written_out() -> None:
    found = weigh(np.arange(3), told((10, 20, 4, 1), (2, 6, 0, 0), (5, 5, 6, 6)), WEIGHTS)
    assert found.loss == pytest.approx(0.5 * 2 + 0.3 * 3 + 0.2 * 1) and found.accuracy == 7 / 10
    assert found.clients == 3


def test_of_those_who_answer_the_weights_sum_to_one() -> None:
    found = weigh(np.array([1, 2]), told((2, 6, 0, 0), (5, 5, 6, 3)), WEIGHTS)
    assert found == Measured(pytest.approx((0.3 * 3 + 0.2 * 1) / 0.5), 0.5, 2)


@pytest.mark.parametrize(
    "lie",
    [(0, 1, 0, 0), (-4, 1, 0, 0), (math.nan, 1, 0, 0), (math.inf, 1, 0, 0), (3, math.nan, 4, 1), (3, math.inf, 4, 1)],
)
def test_numbers_that_cannot_be_stay_out(lie: tuple[float, float, float, float]) -> None:
    found = weigh(np.arange(3), told((10, 20, 4, 1), lie, (5, 5, 0, 0)), WEIGHTS)
    assert found == Measured(pytest.approx((0.5 * 2 + 0.2 * 1) / 0.7), 0.25, 2)


@pytest.mark.parametrize("tested", [(-1, 0), (3, 4), (math.nan, 0), (4, -1), (math.inf, 1), (4, math.nan)])
def test_hits_that_cannot_be_stay_out_of_the_accuracy(tested: tuple[float, float]) -> None:
    assert weigh(np.arange(2), told((10, 20, 4, 1), (10, 20, *tested)), WEIGHTS).accuracy == 0.25


def test_payloads_of_another_length_are_passed_over() -> None:
    good = told((10, 20, 4, 1))[0]
    assert weigh(np.arange(3), [good[:-1], good, b""], WEIGHTS) == Measured(2.0, 0.25, 1)


def test_nobody_who_tells_is_not_a_model_that_diverged() -> None:
    assert weigh(np.arange(0), [], WEIGHTS) == Measured(None, None, 0)
    gone = weigh(np.arange(2), told((10, math.nan, 0, 0), (10, math.inf, 0, 0)), WEIGHTS)
    assert gone.loss is not None and math.isnan(gone.loss) and gone.clients == 0


def test_the_kinds_that_must_not_be_mistaken_are_several_bits_from_all_others() -> None:
    for a, b in combinations(Kind, 2):
        if {a, b} & {Kind.BYE, Kind.EVALUATE}:
            assert (a ^ b).bit_count() >= 2 + (Kind.EVALUATE in (a, b)), (a, b)
