"""What a model gives each client: against sums over one client at a time, and closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21.each import Each, reweighted
from fl_ef21.problems import build
from fl_ef21.problems.apart import each
from fl_ef21.problems.attacks import attacked
from fl_ef21.problems.local import stepping
from fl_ef21.problems.losses import MeanOnly
from fl_ef21.problems.modules import Module
from tests.fl_ef21.test_problems import CASES, everyone, one_thread, point, problem

__all__ = ["one_thread"]


def halved(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """A loss that is known as a mean alone."""
    return torch.nn.functional.cross_entropy(outputs, labels) / 2


@pytest.mark.parametrize(("name", "options"), CASES)
def test_losses_are_those_that_clients_sum_up(name: str, options: dict[str, Any]) -> None:
    p = problem(name, options=options)
    sums = p.sums(point(p), everyone(p)).numpy()
    found = each(p, point(p))
    assert found.samples.tolist() == sums[:, 0].tolist()
    assert found.loss == pytest.approx(sums[:, 1] / sums[:, 0], rel=1e-12)


@pytest.mark.parametrize("name", ["logistic", "mlp", "cnn"])
def test_accuracies_are_those_of_one_client_at_a_time(name: str) -> None:
    p = problem(name)
    x, found = point(p), each(p, point(p))
    for i, (first, size) in enumerate(zip(p.first.tolist(), p.sizes.tolist(), strict=True)):
        mine = slice(first, first + size)
        predicted = p.model.predict(x, p.features[mine])
        assert predicted is not None
        assert found.accuracy[i] == pytest.approx(float((predicted == p.labels[mine]).double().mean()))


def test_test_accuracy_weighs_each_class_as_the_client_does() -> None:
    p = problem()
    x, (features, labels) = point(p), p.test
    hits = (p.model.predict(x, features) == labels).double()
    of_class = torch.stack([hits[labels == c].mean() for c in range(3)])
    mine = p.labels[p.first[4] : p.first[4] + p.sizes[4]]
    assert each(p, x).test_accuracy[4] == pytest.approx(float(of_class[mine].mean()))


def test_classes_that_nobody_tests_are_left_out() -> None:
    mix = np.array([[1.0, 3.0, 0.0], [0.0, 1.0, 9.0], [0.0, 0.0, 2.0]])
    found = reweighted(mix, np.array([1.0, 3.0, 0.0]), np.array([2, 4, 0]))
    assert found[:2].tolist() == [(0.5 + 3 * 0.75) / 4, 0.75] and np.isnan(found[2])


def test_who_keeps_test_samples_is_tested_on_them() -> None:
    p = problem()
    own = replace(p, tested=torch.tensor([4, 0, 1, 0, 6]))
    sums, found = own.sums(point(p), everyone(p)).numpy(), each(own, point(p))
    assert np.isnan(found.test_accuracy[[1, 3]]).all()
    assert found.test_accuracy[[0, 2, 4]] == pytest.approx((sums[:, 3] / np.maximum(sums[:, 2], 1))[[0, 2, 4]])


def test_working_in_small_pieces_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem("mlp", options={"hidden": [4]})
    whole = each(p, point(p))
    monkeypatch.setattr("fl_ef21.problems.apart.EVALUATION", 64 * 3)
    assert each(p, point(p)).loss == pytest.approx(whole.loss, rel=1e-13)
    assert each(p, point(p)).test_accuracy.tolist() == whole.test_accuracy.tolist()


def test_who_is_not_here_has_no_figures() -> None:
    p = problem()
    whole, some = each(p, point(p)), each(p.shard(range(1, 3)), point(p))
    assert some.loss[1:3].tolist() == whole.loss[1:3].tolist() and np.isnan(some.loss[[0, 3, 4]]).all()


def test_a_loss_that_is_only_known_as_a_mean_is_taken_client_by_client() -> None:
    plain = problem("mlp", options={"hidden": [4]})
    assert isinstance(plain.model, Module)
    p = replace(plain, model=replace(plain.model, loss=MeanOnly("halved", halved)))
    assert each(p, point(p)).loss == pytest.approx(each(plain, point(p)).loss / 2, rel=1e-12)


def test_local_steps_and_attacks_change_no_figure_of_the_true_samples() -> None:
    p = problem()
    expected = each(p, point(p))
    for other in (stepping(p, 2, 0.1), attacked(p, "label-flip", 2, classes=3)):
        assert each(other, point(p)).accuracy.tolist() == expected.accuracy.tolist()


def test_a_quadratic_has_losses_and_no_accuracy() -> None:
    p = build("quadratic", clients=4, data=None, parts=None, options={"dim": 7}, batch_size=1, weights="equal", seed=1,
              dtype=torch.float64)  # fmt: skip
    x = torch.linspace(-1, 1, 7, dtype=torch.float64)
    found = each(p, x)
    assert float(found.loss.mean()) == pytest.approx(p.objective(x)[0], rel=1e-12)
    assert np.isnan(found.accuracy).all() and np.isnan(found.test_accuracy).all()


def test_of_sums_who_did_not_answer_is_unknown() -> None:
    found = Each.of_sums(3, np.array([2, 0]), torch.tensor([[4.0, 2.0, 2.0, 1.0], [5.0, 10.0, 0.0, 0.0]]))
    assert found.loss[[2, 0]].tolist() == [0.5, 2.0] and np.isnan(found.loss[1])
    assert found.test_accuracy[2] == 0.5 and np.isnan(found.test_accuracy[:2]).all()
