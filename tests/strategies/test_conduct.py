"""Clients that go too far: what they send is in no g, and once they are out, g is as if they had never been there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.commit import Kind
from fl_ef21.errors import InputError
from fl_ef21.problems.attacks import attacked as attacked_by
from fl_ef21.threads import computing_with
from scenarios.setup import Setup, prepare
from strategies.rounds import Commit
from tests.faulty_grid import Fault, Turn
from tests.small import scenario
from tests.strategies.kept import EF14, SGDM, N, Run
from tests.strategies.test_faults import schedules

RULES: list[dict[str, Any]] = [
    {"aggregate": "median"}, {"aggregate": "trimmed-mean:0.2", "mixing": "nnm:0.2"},
    {"aggregate": "geometric-median", "mixing": "bucketing:2"}, {"aggregate": "multi-krum:0.2"},
]  # fmt: skip
rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: " ".join(rule.values()))
EVICT = {"action": "evict", "strikes": 2}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def setup_of(method: dict[str, Any], guard: dict[str, Any] | None = None, **train: Any) -> Setup:
    return prepare(
        scenario(
            method=[method | {"gamma": 0.1}], model={"name": "quadratic", "dim": 6, "bias": None}, guard=guard or {},
            partition={"clients": N, "scheme": "iid"}, train={"dtype": "float64"} | train,
        )
    )  # fmt: skip


def damaged(client: int, rounds: int = 9) -> tuple[Turn, ...]:
    """All that this client sends after the first round has a NaN in it."""
    broken = Turn(tuple(Fault("NaN payload" if i == client else "none") for i in range(N)))
    return (Turn((Fault(),) * N),) + (broken,) * rounds


def held(run: Run) -> Tensor:
    """(n, d): every client's own g, as it tells it."""
    messages = run.strategy.nodes.post.messages(Kind.AUDIT, run.strategy.members.ids(), run.strategy.last.number)
    heard = run.strategy.open(run.grid.send_and_receive(messages)).heard
    c, refused = wire.decode(heard.payloads, run.strategy.adder.forms.first)
    assert not refused
    return c.dense().double()


def plain(method: dict[str, Any], guard: dict[str, Any] | None = None, **train: Any) -> Run:
    """A run whose strategy is as a scenario makes it, without a history of the test's."""
    run = Run(setup_of(method, guard, **train))
    run.strategy = run.setup.strategy(0, b"run")
    return run


@pytest.mark.parametrize("method", [SGDM, SGDM | RULES[0], EF14], ids=["mean", "median", "ef14"])
def test_who_is_evicted_leaves_g_as_if_it_had_never_been_there(method: dict[str, Any]) -> None:
    run, lasts = plain(method, EVICT), []
    run.grid.turns = list(damaged(3))
    for _ in run.rounds(6):
        lasts.append(run.strategy.last)
        if run.strategy.server.remembers:
            assert run.error() <= 1e-12
    assert [done.evicted for done in lasts] == [(), (), (3,), (), (), ()]
    assert [done.invited for done in lasts] == [5, 5, 5, 4, 4, 4]
    assert not run.strategy.members.there[3] and run.strategy.members.share == pytest.approx(0.8)
    if run.strategy.server.remembers:
        rows = held(run)
        expected = run.strategy.rows.aggregate if run.strategy.rows else lambda G, w, round: G.mean(dim=0)
        found = expected(rows, torch.full((4,), 0.25, dtype=torch.float64), 6)
        g = run.strategy.state.g if run.strategy.rows else run.strategy.state.g / run.strategy.members.share
        assert float((g - found).norm()) <= 1e-12 * float(found.norm())


def test_who_is_in_quarantine_is_asked_no_more_and_stays_in_g() -> None:
    run = plain(SGDM, {"strikes": 2})
    run.grid.turns = list(damaged(3))
    lasts = [run.strategy.last for _ in run.rounds(6)]
    assert [done.quarantined for done in lasts] == [(), (), (3,), (), (), ()]
    assert not any(done.evicted for done in lasts) and lasts[-1].invited == 4
    assert run.strategy.members.there.all() and run.error() <= 1e-12 and len(held(run)) == N


@pytest.mark.parametrize("fault", ["lose reply", "late reply", "raise", "NaN gradient"])
def test_who_is_only_unlucky_gets_no_strike(fault: str) -> None:
    run = plain(SGDM, {"strikes": 1})
    run.grid.turns = [Turn((Fault(fault),) * (N - 1) + (Fault(),))] * 6
    run.to(6)
    assert not run.strategy.guard.strikes.any()


@pytest.mark.parametrize("method", [SGDM, SGDM | RULES[0], EF14], ids=["mean", "median", "ef14"])
@pytest.mark.parametrize("action", ["evict", "quarantine"])
def test_a_sleepers_increment_is_in_no_g(method: dict[str, Any], action: str) -> None:
    honest, attacked = plain(method), plain(method, {"action": action, "strikes": 1})
    sleeper = attacked_by(attacked.setup.problem, "sleeper", clients=1, start=4)
    attacked.setup = replace(attacked.setup, problem=sleeper)
    honest.to(3)
    attacked.to(3)
    before = attacked.strategy.state.g.clone()
    assert torch.equal(before, honest.strategy.state.g)
    attacked.to(4)
    assert dict(attacked.strategy.last.refused) == {"norm": 1} and attacked.strategy.last.quarantined == (N - 1,)
    assert float((attacked.strategy.state.g - before).norm()) < 1e3 * float(before.norm())
    attacked.to(6)
    assert not attacked.strategy.last.refused  # nobody asks it


@rules
def test_g_is_the_rule_of_what_the_clients_hold_whatever_is_lost(rule: dict[str, Any]) -> None:
    setup = setup_of(SGDM | rule, participation=0.6, dtype="float32")

    @settings(max_examples=5, deadline=None)
    @given(turns=schedules())
    def holds(turns: tuple[Turn, ...]) -> None:
        run = Run(setup)
        run.strategy, run.grid.turns = setup.strategy(0, b"run"), list(turns)
        for number in run.rounds(6):
            assert run.error() == 0.0  # bitwise
            if run.strategy.last.participants:
                assert run.strategy.rows is not None
                with computing_with(1):
                    expected = run.strategy.rows.aggregate(held(run).float(), run.strategy.members.weights, number)
                assert torch.equal(run.strategy.state.g, expected)

    holds()


@rules
def test_rounds_are_made_again_and_images_go_on(rule: dict[str, Any]) -> None:
    run, commits = plain(SGDM | rule, EVICT), list[Commit]()
    run.grid.turns = list(damaged(1))
    for number in run.rounds(6):
        commits.append(run.strategy.commit())
        if number == 4:
            tensors, note = run.strategy.image()
    again, put_back = (run.setup.strategy(0, b"run") for _ in range(2))
    put_back.restore(tensors, json.loads(json.dumps(note)))
    for strategy, rest in ((again, commits), (put_back, commits[4:])):
        for commit in rest:
            strategy.redo(commit)
        assert strategy.digest() == run.strategy.digest() and commits[3].left == (1,)
    assert put_back.guard.strikes.tolist() == run.strategy.guard.strikes.tolist() == [0, 2, 0, 0, 0]


@pytest.mark.parametrize("method", [SGDM, EF14], ids=["ef21-sgdm", "ef14"])
def test_rounds_are_made_again_by_who_knows_of_no_strikes(method: dict[str, Any]) -> None:
    run, commits = plain(method, {"strikes": 2}, participation=0.8), list[Commit]()
    run.grid.turns = list(damaged(3))
    for _ in run.rounds(7):
        commits.append(run.strategy.commit())
    assert run.strategy.guard.out[3]
    again = run.setup.strategy(0, b"run")
    for commit in commits:
        again.redo(commit)
    assert again.digest() == run.strategy.digest()
    again.guard.put_out([3])
    assert [again.invite(round).tolist() for round in (8, 9)] == [run.strategy.invite(r).tolist() for r in (8, 9)]


def test_the_audit_finds_a_row_that_is_not_its_clients() -> None:
    run = plain(SGDM | RULES[0])
    run.to(3)
    assert run.error() == 0.0 and run.strategy.rows is not None
    run.strategy.rows.G[2, 1] += 1e-3
    assert 1e-6 < run.error() < 1


@pytest.mark.parametrize("name", ["ef14", "compressed-sgd", "sgdm"])
def test_rules_need_a_method_that_remembers_every_client(name: str) -> None:
    with pytest.raises(InputError, match="ef21-sgdm") as caught:
        prepare(scenario(method=[{"name": name, "gamma": 0.1, "aggregate": "median"}]))
    assert caught.value.field == "method[0].aggregate"


def test_what_is_wrong_with_a_rule_is_told_before_anything_starts() -> None:
    with pytest.raises(InputError) as caught:
        prepare(scenario(method=[SGDM | {"gamma": 0.1, "aggregate": "krum:0.3", "mixing": "bucketing:2"}]))
    assert caught.value.field == "method[0].mixing"


def test_everybody_out_is_silence() -> None:
    run = plain(SGDM, {"strikes": 1})
    run.grid.turns = [Turn((Fault(),) * N), Turn((Fault("NaN payload"),) * N)]
    run.to(3)
    assert run.strategy.guard.out.all() and run.strategy.last.invited == run.strategy.last.participants == 0
    assert run.strategy.state.g.isfinite().all()
