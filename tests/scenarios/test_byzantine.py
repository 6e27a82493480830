"""What attacks do to the mean and to a robust rule, on the scenario that comes along; measured with room to spare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scenarios
from scenarios.loading import load, parse, to_toml
from scenarios.results import Result
from scenarios.schema import Attack, Engine, Evaluate, Guard, Scenario
from scenarios.schema_words import AGGREGATES, MIXINGS
from strategies.robust import RULES
from strategies.robust_mixing import MIXINGS as KNOWN

ATTACKS: dict[str, dict[str, Any]] = {
    "sign-flip": {"scale": 10.0}, "ipm": {"scale": 10.0}, "alie": {"z": 20.0}, "sleeper": {"from_round": 20},
    "scaled": {"scale": 10.0},
}  # fmt: skip


def under(name: str, *labels: str, rounds: int = 60, **changes: Any) -> Scenario:
    """The gallery's scenario with another attack, some of its methods and few rounds."""
    whole = load(Path("byzantine"))
    attack = Attack(name=name, share=0.2, **ATTACKS[name])  # type: ignore[arg-type]
    methods = [method for method in whole.method if method.label in labels]
    return whole.model_copy(
        update={"attack": attack, "method": methods, "rounds": rounds, "engine": Engine(actors=0)}
        | {"evaluate": Evaluate(every=rounds, traffic="off")} | changes
    )  # fmt: skip


def accuracies(result: Result) -> dict[str, float]:
    return {method["label"]: method["test_accuracy"] or 0.0 for method in result.summary["methods"]}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_wrecks_the_mean_and_not_a_robust_rule(name: str) -> None:
    found = accuracies(scenarios.run(under(name, "mean", "Multi-Krum", "nnm, median")))
    assert found["mean"] < 0.75 and min(found["Multi-Krum"], found["nnm, median"]) > 0.85


def test_a_guard_stops_a_sleeper_and_the_mean_goes_on_without_it() -> None:
    guarded = under("sleeper", "mean", guard=Guard(action="evict", strikes=1))
    result = scenarios.run(guarded)
    (method,) = result.summary["methods"]
    assert method["test_accuracy"] > 0.85 and method["invariant_error"] < 1e-6
    assert method["rejected_reasons"] == {"norm": 4} and method["evicted"] == method["quarantined"] == [16, 17, 18, 19]


def test_the_report_names_who_was_put_out(tmp_path: Path) -> None:
    scenarios.run(under("sleeper", "mean", rounds=22, guard=Guard(action="evict", strikes=1)), out=tmp_path / "run")
    assert "asked no more and taken out of g: 16, 17, 18, 19." in (tmp_path / "run" / "report.html").read_text()


def test_a_scenario_under_attack_is_written_and_read_again() -> None:
    for name in ATTACKS:
        whole = under(name, "mean", "nnm, median", guard=Guard(norm=3.0))
        again = parse(to_toml(whole))
        assert (again.attack, again.guard, again.method) == (whole.attack, whole.guard, whole.method)


def test_the_words_are_those_of_the_registries() -> None:
    assert set(AGGREGATES) == set(RULES) and set(MIXINGS) == set(KNOWN)


def measured(name: str, runtime: str, actors: int) -> Any:
    """Four rounds of everything but the geometric median."""
    labels = ("mean", "median", "Multi-Krum", "nnm, median")
    wanted = under(name, *labels, rounds=4, engine=Engine(actors=actors))
    return scenarios.run(wanted, runtime=runtime).rounds.drop(columns="wall_seconds")


@pytest.mark.system
def test_actors_agree_bitwise_under_attack() -> None:
    assert measured("ipm", "resident", 2).equals(measured("ipm", "resident", 0))


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["alie", "scaled"])
def test_runtimes_agree_under_attack(name: str) -> None:
    ours, flowers = (measured(name, runtime, 2) for runtime in ("resident", "flower"))
    assert (flowers.train_loss - ours.train_loss).abs().max() < 1e-5
    assert flowers.participants.equals(ours.participants) and not flowers.rejected.any()
    assert (flowers.invariant_error[flowers.method != "mean"] == 0).all()
