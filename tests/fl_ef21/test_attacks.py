"""Attacks against formulas written beside them, whoever is asked together and whatever the shards."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.problems.attacks import FLIPS, SCALES, attacked, little
from fl_ef21.problems.devices import on
from fl_ef21.threads import computing_with
from fl_ef21.types import Problem
from scenarios.schema import Attack
from scenarios.setup import prepare
from tests.small import scenario

N, CLASSES, ROUND = 12, 10, 4
BAD = [2, 3, 7, 11]
HONEST = {
    name: prepare(scenario(model=model, train=train)).problem
    for name, model, train in [
        ("logistic", {}, {}),
        ("local steps", {}, {"local_steps": [1, 3], "local_rate": 0.05}),
        ("mlp", {"name": "mlp", "bias": None}, {}),
        ("quadratic", {"name": "quadratic", "bias": None}, {}),
    ]
}
attacks = pytest.mark.parametrize("name", SCALES)
cases = pytest.mark.parametrize(
    ("model", "name"),
    [(model, name) for model in HONEST for name in SCALES if model != "quadratic" or name not in FLIPS],
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def under(model: str, name: str, **more: Any) -> Problem:
    return attacked(HONEST[model], name, more.pop("clients", BAD), classes=CLASSES, start=3, **more)


def point(problem: Problem) -> Tensor:
    return problem.x0() + 0.1 * torch.randn(problem.dim, generator=torch.Generator().manual_seed(1))


def honest(problem: Problem, x: Tensor, round: int = ROUND) -> Tensor:
    return torch.cat([problem.gradients(x, torch.tensor([i]), round) for i in range(N)])


@cases
def test_attackers_send_what_the_formula_says_and_others_what_they_would(model: str, name: str) -> None:
    problem, fair = under(model, name), HONEST[model]
    x = point(fair)
    q, sent = honest(fair, x), honest(problem, x)
    good = [i for i in range(N) if i not in BAD]
    assert torch.equal(sent[good], q[good])
    theirs = q[BAD].double()
    if name in ("label-flip", "scaled"):
        sampled: Any = getattr(fair, "problem", fair)
        before = sampled.labels.clone()
        sampled.labels.copy_(CLASSES - 1 - sampled.labels)
        expected = honest(fair, x)[BAD] * (N / len(BAD) if name == "scaled" else 1)
        sampled.labels.copy_(before)
    elif name == "sleeper":
        expected = torch.full_like(q[BAD], torch.nan)
    elif name == "sign-flip":
        expected = -q[BAD]
    elif name == "ipm":
        expected = -theirs.mean(dim=0).expand(len(BAD), -1)
    else:
        deviation = ((theirs - theirs.mean(dim=0)).square().sum(dim=0) / len(BAD)).sqrt()
        expected = (theirs.mean(dim=0) - little(N, len(BAD)) * deviation).expand(len(BAD), -1)
    assert torch.allclose(sent[BAD].double(), expected.double(), rtol=1e-5, atol=1e-6, equal_nan=True)


@cases
def test_whoever_is_asked_together_and_in_whatever_shard(model: str, name: str) -> None:
    problem = under(model, name)
    x = point(problem)
    alone = honest(problem, x)
    if problem.rowwise:
        assert torch.equal(problem.gradients(x, torch.arange(N), ROUND), alone) or name == "sleeper"
    for shard in (range(5), range(5, 8), range(8, 12)):
        held = problem.shard(shard)
        for i in shard:
            assert torch.equal(held.gradients(x, torch.tensor([i]), ROUND).nan_to_num(), alone[i : i + 1].nan_to_num())


@attacks
def test_before_they_begin_they_are_as_the_others(name: str) -> None:
    problem, fair = under("logistic", name), HONEST["logistic"]
    x = point(fair)
    assert torch.equal(honest(problem, x, 2), honest(fair, x, 2))
    assert not torch.equal(honest(problem, x, 3), honest(fair, x, 3))


@attacks
def test_what_is_measured_is_the_honest_problem(name: str) -> None:
    problem, fair = under("logistic", name), HONEST["logistic"]
    x = point(fair)
    assert problem.objective(x)[0] == fair.objective(x)[0] and problem.accuracy(x) == fair.accuracy(x)
    assert torch.equal(problem.objective(x)[1], fair.objective(x)[1])


def test_a_sleeper_strikes_once_and_hard() -> None:
    problem, fair = under("logistic", "sleeper"), HONEST["logistic"]
    x = point(fair)
    assert torch.equal(honest(problem, x, 3)[BAD], -1e6 * honest(fair, x, 3)[BAD])
    assert honest(problem, x, 5)[BAD].isnan().all()


def test_little_is_as_much_as_a_majority_lets_pass() -> None:
    # of 50 with 20 attackers 6 honest ones are lacking to 26: the 6 of 30 that lie furthest
    assert little(50, 20) == pytest.approx(NormalDist().inv_cdf(24 / 30))
    assert little(3, 1) == 0.0 and little(2, 1) == 0.0


@pytest.mark.parametrize(
    ("given", "ids"), [({"clients": 3}, [9, 10, 11]), ({"share": 0.25}, [9, 10, 11]), ({"clients": [4, 1, 4]}, [1, 4])]
)
def test_who_they_are(given: dict[str, Any], ids: list[int]) -> None:
    problem: Any = attacked(HONEST["logistic"], "ipm", **given)
    assert problem.attackers.tolist() == ids and sorted(i for run, _ in problem.theirs for i in run) == ids


def test_it_moves_to_a_device_whole() -> None:
    moved: Any = on(under("logistic", "label-flip"), "meta")
    assert moved.problem.features.is_meta and all(some.features.is_meta for _, some in moved.theirs)


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [
        ({"name": "alie"}, "attack.clients", "either clients or share"),
        ({"name": "alie", "clients": 3, "share": 0.2}, "attack.clients", "either clients or share"),
        ({"name": "alie", "clients": N}, "attack.clients", "somebody is honest"),
        ({"name": "alie", "clients": [12]}, "attack.clients", "0 .. 11"),
        ({"name": "alie", "share": 0.01}, "attack.share", "makes 0 attackers"),
        ({"name": "ipm", "clients": 1, "z": 1.0}, "attack.z", "alie"),
        ({"name": "alie", "clients": 1, "scale": 1.0}, "attack.scale", "remove it"),
    ],
)
def test_a_mistake_is_told(given: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        prepare(scenario(attack=given))
    assert caught.value.field == field and told in str(caught.value)


def test_without_labels_none_can_be_flipped() -> None:
    with pytest.raises(InputError, match="labels"):
        attacked(HONEST["quadratic"], "scaled", 2)


def test_a_scenario_can_name_every_attack() -> None:
    assert set(Attack.model_fields["name"].annotation.__args__) == set(SCALES)  # type: ignore[union-attr]
