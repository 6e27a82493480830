"""The way to take a network's gradients: chosen by what was measured, unless somebody says which."""

from typing import Any

import numpy as np
import pytest
import torch

from fl_ef21.data.base import Dataset
from fl_ef21.problems import build, choosing
from fl_ef21.problems.choosing import Choice, choose
from fl_ef21.problems.local import Local
from fl_ef21.problems.modules import WAYS, Module
from fl_ef21.types import Problem


def problem(name: str = "mlp", per_client: str = "auto", **changes: Any) -> Problem:
    rng = np.random.default_rng(5)
    features, labels = rng.normal(size=(40, 1, 6, 6)).astype(np.float32), rng.integers(0, 3, 40)
    data = Dataset("random", features, labels, ("a", "b", "c"), features[:3], labels[:3])
    options = {} if name in ("logistic", "quadratic") else {"per_client": per_client}
    given: dict[str, Any] = {
        "clients": 4, "data": data, "parts": np.split(np.arange(40), 4), "options": options,
        "batch_size": 5, "weights": "equal", "seed": 3, "dtype": torch.float32,
    }  # fmt: skip
    return build(name, **(given | changes))


def model(p: Problem) -> Module:
    inner = p.problem if isinstance(p, Local) else p
    assert isinstance(inner.model, Module)  # type: ignore[attr-defined]
    return inner.model  # type: ignore[attr-defined]


def took(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Makes the measurement find these seconds."""
    monkeypatch.setattr(choosing, "_measured", lambda *_: {w.replace("_", "-"): t for w, t in seconds.items()})


def not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("there was nothing to measure")

    monkeypatch.setattr(choosing, "_measured", fail)


@pytest.mark.parametrize(
    ("seconds", "way"),
    [
        ({"loop": 1.0, "vmap": 0.5}, "vmap"),
        ({"loop": 1.15, "vmap": 1.01}, "loop"),
        ({"loop": 1.17, "vmap": 1.01}, "vmap"),
        ({"loop": 1.0, "vmap": 3.0}, "loop"),
        ({"loop": 1.0, "vmap": 0.8, "channels_last": 0.6}, "channels-last"),
        ({"loop": 1.0, "vmap": 0.5, "channels_last": 0.6}, "vmap"),
    ],
)
def test_only_what_is_clearly_faster_displaces_the_loop(
    seconds: dict[str, float], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    took(monkeypatch, **seconds)
    settled, choice = choose(problem("cnn"), 16)
    assert choice is not None and choice.way == way == model(settled).way
    assert not model(settled).open


def test_what_was_measured_is_told_in_words() -> None:
    assert str(Choice("vmap", {"loop": 0.00035, "vmap": 0.0002})) == (
        "gradients by vmap (a client takes: loop 0.35 ms, vmap 0.2 ms)"
    )
    assert str(Choice("loop")) == "gradients by loop"


@pytest.mark.parametrize(("name", "ways"), [("mlp", {"loop", "vmap"}), ("cnn", set(WAYS))])
@pytest.mark.parametrize("batch_size", [5, "full", [1, "full"]])
def test_every_way_that_works_is_measured(name: str, ways: set[str], batch_size: Any) -> None:
    p = problem(name, batch_size=batch_size)
    settled, choice = choose(p, 4)
    assert choice is not None and set(choice.seconds) == ways == set(model(p).open)
    assert all(t > 0 for t in choice.seconds.values())
    x, ids = p.x0(), torch.arange(4)
    assert torch.allclose(settled.gradients(x, ids, 1), p.gradients(x, ids, 1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_who_says_which_way_gets_it_unmeasured(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    not_measured(monkeypatch)
    settled, choice = choose(problem("cnn", way), 16)
    assert choice == Choice(way) and model(settled).way == way


def test_without_measuring_the_usual_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    not_measured(monkeypatch)
    assert choose(problem("mlp"), 16, measure=False)[1] == Choice("vmap")
    assert choose(problem("cnn"), 16, measure=False)[1] == Choice("loop")


@pytest.mark.parametrize("name", ["logistic", "quadratic"])
def test_a_closed_form_leaves_nothing_to_choose(name: str) -> None:
    p = problem(name)
    assert choose(p, 16) == (p, None)


def test_the_choice_reaches_what_is_inside_local_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    took(monkeypatch, loop=1.0, vmap=9.0)
    settled, _ = choose(problem("mlp", local_steps=2, local_rate=0.1), 16)
    assert isinstance(settled, Local) and model(settled).way == "loop"
    assert model(settled.shard(range(2))).way == "loop"
