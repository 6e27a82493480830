"""Methods with a prox: what is measured and told is of f + r, and what cannot be is told before anything starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import scenarios
from fl_ef21.errors import InputError
from scenarios.measuring import Figures, measure
from scenarios.report import write
from scenarios.sections import composite
from scenarios.setup import prepare
from tests.scenarios.run_folder import make, rows
from tests.small import SPARSE, scenario

QUADRATIC: dict[str, Any] = {
    "partition": {"clients": 4, "scheme": "iid"},
    "model": {"name": "quadratic", "dim": 8, "bias": None},
    "train": {"batch_size": "full", "dtype": "float64"},
}


def measured(prox: str | None, gamma: float) -> tuple[Figures, torch.Tensor, float, torch.Tensor]:
    """What is measured at the start, the model there, f and its gradient."""
    method = {"name": "ef21-sgd", "gamma": gamma} | ({"prox": prox} if prox else {})
    setup = prepare(scenario(method=[method], **QUADRATIC))
    strategy = setup.strategy(0, b"run")
    found = measure(setup, strategy, None)  # type: ignore[arg-type]  # nobody is asked
    return found, strategy.descent.x, *setup.problem.objective(strategy.descent.x)


def test_the_training_loss_is_of_the_sum_and_the_gradient_is_the_mapping() -> None:
    found, x, loss, gradient = measured("l1:0.3", 0.25)
    y = x.double() - 0.25 * gradient
    moved = y.sign() * (y.abs() - 0.25 * 0.3).clamp(min=0)
    assert found.train_loss == pytest.approx(loss + 0.3 * float(x.abs().sum()), rel=1e-12)
    assert found.grad_norm_sq == pytest.approx(float(((x - moved) / 0.25).square().sum()), rel=1e-12)


def test_without_a_prox_they_are_of_f() -> None:
    found, _, loss, gradient = measured(None, 0.25)
    assert (found.train_loss, found.grad_norm_sq) == (loss, float(gradient.square().sum()))


def test_a_run_settles_where_the_gradient_mapping_is_nought() -> None:
    method = {"name": "ef21-prox", "gamma": 0.3, "prox": "l1:0.2", "compressor": "topk", "k": 2}
    result = scenarios.run(scenario(method=[method], rounds=150, evaluate={"every": 150}, **QUADRATIC))
    last = result.rounds.iloc[-1]
    assert last.grad_norm_sq < 1e-6 * result.rounds.iloc[0].grad_norm_sq
    assert result.summary["methods"][0]["prox"] == "l1:0.2"


def test_the_report_says_what_its_figures_are_of(tmp_path: Path) -> None:
    some = [(rows("sparse", [2.0, 1.0]), {"prox": "l1:0.2"}), (rows("plain", [2.0, 1.0]), {"prox": None})]
    page = write(make(tmp_path, some)).read_text()
    assert "<b>sparse</b> minimises f + r with r = l1:0.2" in page and "<b>plain</b> minimises" not in page
    hostile: Any = SimpleNamespace(label="<i>", method={"prox": "<b>"})
    assert "&lt;i&gt;" in composite([hostile]) and "r = &lt;b&gt;" in composite([hostile])


@pytest.mark.parametrize(
    ("method", "field", "told"),
    [
        ({"name": "ef21-prox"}, "method[0].prox", "needs one"),
        ({"name": "ef21-p"}, "method[0].downlink", "needs one"),
        ({"name": "ef21-sgd", "prox": "l1:-2"}, "method[0].prox", "> 0"),
        ({"name": "ef21-sgd", "prox": "box:0.5"}, "method[0].prox", "starts from"),  # at (1, 1, ...)
        ({"name": "ef21-hb", "hyper": {"beta": 1.0}}, "method[0].hyper.beta", r"\[0, 1\)"),
        ({"name": "ef21-hb", "hyper": {"bet": 0.5}}, "method[0].hyper.bet", "beta"),
        ({"name": "ef21-muon", "hyper": {"rest": 0.0}}, "method[0].hyper.rest", "> 0"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(method: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        prepare(scenario(method=[method | {"gamma": 0.1} | SPARSE], **QUADRATIC))
    assert caught.value.field == field


def test_a_prox_that_is_not_known_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'box'"):
        scenario(method=[{"name": "ef21-sgd", "gamma": 0.1, "prox": "bax:1"}])
