"""gamma = "theory" and eta = "theory" in scenarios."""

from __future__ import annotations

from typing import Any

import pytest

import scenarios
from fl_ef21.errors import InputError
from fl_ef21.theory.constants import constants
from scenarios import theory
from scenarios.loading import ScenarioError, parse, to_toml
from scenarios.manner import Manner
from scenarios.schema import Scenario
from scenarios.schema_method import Decay
from scenarios.setup import again, prepare
from tests.small import scenario

SGDM: dict[str, Any] = {"name": "ef21-sgdm", "compressor": "topk", "k": 5, "gamma": "theory", "eta": "theory"}
EXACT = {"batch_size": "full", "dtype": "float64"}


def base(**changes: Any) -> Scenario:
    """Four clients, noise of a known size."""
    table = {
        "name": "theory", "rounds": 40, "seed": 3, "partition": {"clients": 4}, "engine": {"actors": 0},
        "model": {"name": "quadratic", "dim": 20, "sigma": 2.0}, "train": {"batch_size": 2, "dtype": "float64"},
        "method": [SGDM], "evaluate": {"every": 5},
    }  # fmt: skip
    for key, value in changes.items():
        table[key] = table.get(key, {}) | value if isinstance(value, dict) else value  # type: ignore[operator]
    return Scenario.model_validate(table)


def test_numbers_take_the_place_of_the_word_and_load_back_equal() -> None:
    s = base()
    setup = prepare(s)
    c, method = constants(setup.problem), setup.resolved.method[0]
    alpha = 5 / 20
    s_ = c.smooth.L * c.delta / (2.0**2 / 2)
    eta = min(1, (s_ * alpha**2 / 40) ** 0.25, (s_ * alpha / 40) ** (1 / 3), (s_ * 4 / 40) ** 0.5, alpha * s_**0.5)
    assert isinstance(method.eta, float) and method.eta == pytest.approx(eta, rel=1e-3) and method.eta <= eta
    gamma = min(alpha / (20 * c.smooth.tilde), method.eta / (7 * c.smooth.L))
    assert isinstance(method.gamma, float) and method.gamma == pytest.approx(gamma, rel=1e-3) and method.gamma <= gamma
    assert parse(to_toml(setup.resolved)) == setup.resolved
    assert (setup.plans[0].gamma(1), setup.plans[0].eta(1)) == (method.gamma, method.eta)


def test_a_run_keeps_the_numbers_and_repeats_to_the_same(tmp_path: Any) -> None:
    quick = Manner(page=False)
    first = scenarios.run(base(rounds=10), out=tmp_path / "a", manner=quick)
    again = scenarios.run(tmp_path / "a", out=tmp_path / "b", manner=quick)
    assert "theory" not in first.scenario.replace('name = "theory"', "").replace("theory = false", "")
    assert again.rounds["train_loss"].tolist() == first.rounds["train_loss"].tolist()
    assert prepare(base(rounds=10)).source == prepare(parse(first.scenario)).source


def test_gamma_follows_an_eta_that_is_given_and_an_eta_may_be_theory_alone() -> None:
    given = prepare(base(method=[SGDM | {"eta": 0.01}])).resolved.method[0]
    assert given.eta == 0.01 and given.gamma == pytest.approx(0.01 / 7, rel=1e-3)
    alone = prepare(base(method=[SGDM | {"gamma": 0.3}])).resolved.method[0]
    assert alone.gamma == 0.3 and isinstance(alone.eta, float)


def test_other_methods_beside_it_keep_their_numbers_and_a_problem_is_shared() -> None:
    setup = prepare(base(method=[SGDM, {"name": "ef14", "gamma": 0.25, "compressor": "topk", "k": 5}]))
    assert setup.resolved.method[1].gamma == 0.25
    other = again(setup, base(method=[SGDM], rounds=4000))
    assert other.resolved.method[0].eta < setup.resolved.method[0].eta  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"method": [{"name": "ef14", "gamma": "theory"}]}, r"method\[0\]\.gamma", "ef21-sgdm"),
        ({"method": [SGDM | {"compressor": "hard-threshold", "k": None, "threshold": 0.1}]}, "gamma", "contracts"),
        ({"method": [SGDM | {"eta": 0.1}], "train": {"participation": 0.5}}, "gamma", "participation = 1"),
        ({"method": [SGDM | {"gamma": 0.1}], "train": {"local_steps": 2, "local_rate": 0.1}}, "eta", "local_steps = 1"),
        ({"method": [SGDM | {"downlink": "topk:0.5"}]}, "gamma", "downlink"),
        ({"method": [SGDM | {"optimizer": "adam"}]}, "gamma", "optimizer"),
        ({"method": [SGDM | {"aggregate": "median"}]}, "gamma", "aggregate"),
        ({"method": [{"name": "ef21-sgd", "gamma": "theory"}]}, "gamma", 'batch_size = "full"'),
        ({"method": [{"name": "ef21-sgd", "gamma": 0.1, "eta": "theory"}], "train": EXACT}, "eta", "no eta"),
        ({"method": [SGDM | {"eta": Decay(value=0.5)}]}, "gamma", "constant eta"),
    ],
)
def test_what_no_theorem_covers_is_told_with_what_would_be_right(
    changes: dict[str, Any], field: str, told: str
) -> None:
    with pytest.raises(InputError, match=field) as caught:
        prepare(base(**changes))
    assert told in str(caught.value)


def test_a_typo_of_the_word_is_told() -> None:
    text = to_toml(base()).replace('gamma = "theory"', 'gamma = "theorie"')
    with pytest.raises(ScenarioError, match="must be a number or a table or 'theory'"):
        parse(text)


def test_steps_in_use_are_inside_or_outside() -> None:
    inside = base(method=[SGDM | {"gamma": 1e-4, "eta": 0.1}])
    outside = base(method=[SGDM | {"gamma": 0.5, "eta": 0.1}, {"name": "ef14", "gamma": 0.1}])
    problem = prepare(inside).problem
    found = theory.allowed(inside, 0, problem)
    assert found.inside is True and found.gamma == pytest.approx(min(0.25 / 20, 0.1 / 7))
    assert theory.allowed(outside, 0, problem).inside is False
    assert theory.allowed(outside, 1, problem).theorem is None
    sampled = theory.allowed(base(method=[SGDM | {"gamma": 1e-4}], train={"participation": 0.5}), 0, problem)
    assert sampled.inside is None and "participation" in sampled.why[0]


def test_a_falling_eta_counts_where_it_is_least() -> None:
    falling = base(method=[SGDM | {"gamma": 1e-3, "eta": {"value": 1.0, "power": 1.0, "tau": 1.0}}])
    found = theory.allowed(falling, 0, prepare(falling).problem)
    assert found.gamma == pytest.approx(1 / 40 / 7)


def test_constants_of_a_problem_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def counted(problem: Any) -> Any:
        calls.append(problem)
        return constants(problem)

    monkeypatch.setattr(theory, "constants", counted)
    setup = prepare(base(method=[SGDM, SGDM | {"label": "other", "k": 2}]))
    theory.allowed(setup.resolved, 0, setup.problem)
    assert len(calls) == 1


def test_samples_that_lie_elsewhere_are_asked_for() -> None:
    setup = prepare(scenario(method=[SGDM | {"gamma": 0.1, "eta": 0.1}]))
    with pytest.raises(InputError, match=r"data\.source"):
        theory.resolved(scenario(method=[SGDM]), setup.problem.shard(range(3)))
