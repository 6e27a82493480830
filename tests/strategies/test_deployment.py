"""Rounds on a deployment: how replies are waited for, and what becomes of nodes that come, go and come again."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from math import inf
from types import SimpleNamespace

import pytest
from flwr.app import Message

from fl_ef21.flower_internals import CLIENT_RAISED, error_reply
from strategies import flower_exchange
from strategies.flower_exchange import LONG, RESTARTED, SHORT
from strategies.flower_nodes import STUCK
from strategies.flower_questions import QUIET
from strategies.rounds import Silence
from tests.strategies.deployment import deploy, trained
from tests.strategies.kept import SGDM, N, Run, setup_of


def everybody() -> Run:
    return Run(setup_of(SGDM, participation=1.0))


def undisturbed(rounds: int) -> bytes:
    run = everybody()
    run.to(rounds)
    return run.strategy.digest()


def test_a_deployment_trains_as_a_simulation_does(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    assert [done.participants for done in trained(run, grid, 4)] == [N] * 4
    assert run.strategy.digest() == undisturbed(4)
    assert run.strategy.audit(grid) is not None


def test_pauses_grow_slowly_and_are_short_again_once_something_came(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    grid.takes = {0: 3.0, 1: 60.0}
    run.strategy.nodes.enrol(grid)
    began, grid.looks = grid.clock.now, []
    trained(run, grid, 1)
    gaps = [after - before for before, after in zip(grid.looks, grid.looks[1:], strict=False)]
    assert max(gaps) <= LONG + 1e-6 and len(grid.looks) < 120
    for due in (0.1, 3.0, 60.0):
        found = next(at for at in range(len(grid.looks)) if grid.looks[at] >= began + due)
        assert grid.looks[found] - began - due <= 0.25 * due + SHORT  # seen soon after it was there
        assert found == len(gaps) or gaps[found] == pytest.approx(SHORT)


def test_a_round_is_over_at_its_deadline_and_one_is_not_sent_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    run.strategy.nodes.enrol(grid)
    grid.takes, began = {2: 100.0}, grid.clock.now
    (done,) = trained(run, grid, 1, timeout=7.0)
    assert done.participants == N - 1 and grid.clock.now - began == pytest.approx(7.0)
    assert grid.rounds == [(1, i) for i in range(N)]


def test_a_node_that_started_again_within_a_round_is_asked_again_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 2)
    now = grid.clock.now
    grid.at = [(now + 0.05, lambda: grid.kill(2)), (now + 50, lambda: grid.restart(2))]
    done = trained(run, grid, 3)
    assert [one.participants for one in done] == [N] * 3 and not any(one.refused for one in done)
    assert grid.rounds.count((3, 1)) == 2 and len(grid.rounds) == 5 * N + 1
    assert run.strategy.digest() == undisturbed(5)


def test_a_node_that_is_gone_is_left_out_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 2)
    since = grid.there.pop(2)
    assert [(done.invited, done.participants) for done in trained(run, grid, 2)] == [(N - 1, N - 1)] * 2
    assert run.strategy.audit(grid) is None  # nobody can ask client 1 what it holds
    grid.there[2] = since
    assert [(done.invited, done.participants) for done in trained(run, grid, 2)] == [(N, N)] * 2
    assert run.error() < 1e-14


def test_a_node_that_goes_within_a_round_ends_nobodys_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    moment = grid.clock.now + 0.05
    grid.at = [(moment, lambda: grid.kill(2)), (moment, lambda: grid.there.pop(2))]
    (done,) = trained(run, grid, 1)
    assert done.participants == N - 1 and done.refused == {"client raised": 1}
    assert "gone" in done.first


def test_a_client_that_comes_as_another_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 2)
    del grid.there[2]
    grid.there[2 + N] = "2026-01-03"
    trained(run, grid, 1)
    (done,) = trained(run, grid, 1)
    assert run.strategy.nodes.of[1] == 2 + N and done.participants == N and run.error() < 1e-14


# Enrolment ------------------------------------------------------------------------------------------


def starting_with(clients: int) -> Run:
    return Run(setup_of(SGDM, participation=1.0, start_clients=clients))


def test_clients_that_come_late_take_part_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    run = starting_with(3)
    grid = deploy(run, monkeypatch)
    for node in (4, 5):
        del grid.there[node]
    assert [done.participants for done in trained(run, grid, 3)] == [3] * 3
    assert run.error() < 1e-14  # the g_i of those who are not there is 0
    grid.there |= {4: "2026-01-02", 5: "2026-01-02"}
    assert [done.participants for done in trained(run, grid, 3)][-1] == N
    assert run.error() < 1e-14 and run.strategy.ledger.points.version.min() > 0


def test_who_answers_slowly_who_it_is_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    run = starting_with(3)
    grid = deploy(run, monkeypatch)
    for node in (4, 5):
        del grid.there[node]
    trained(run, grid, 1)
    grid.there[4], grid.takes[3] = "2026-01-02", 40.0
    began = grid.clock.now
    assert [done.participants for done in trained(run, grid, 2)] == [3, 3] and grid.clock.now - began < 1
    grid.clock.now += 60
    grid.takes = {}
    assert [done.participants for done in trained(run, grid, 1)] == [4]


def test_a_node_whose_answer_is_announced_and_does_not_come_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    grid.takes = {1: inf}
    grid.at = [(1.0, lambda: grid.takes.clear())]
    torn = SimpleNamespace(
        take=grid.pull_messages, stuck=lambda seconds: ["message-1"] if grid.clock.now > seconds else []
    )
    monkeypatch.setattr(flower_exchange, "inbox_of", lambda grid: torn)
    run.strategy.nodes.enrol(grid)
    assert STUCK < grid.clock.now < STUCK + RESTARTED + LONG and run.strategy.nodes.of[1] == 2
    assert len(grid.sent) == N + 1


def test_who_has_not_enrolled_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = starting_with(4)
    grid = deploy(run, monkeypatch)
    for node in (2, 5):
        del grid.there[node]
    with pytest.raises(Silence, match=r"3 of 5 clients have enrolled, 4 are needed; time is up; not there: 1, 4"):
        trained(run, grid, 1)
    assert 120 < grid.clock.now < 125


def test_a_device_that_cannot_say_who_it_is_is_no_reason_to_stop_where_enough_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = starting_with(4)
    grid = deploy(run, monkeypatch)
    answer = run.grid._answer

    def without_data(message: Message, trouble: str = "") -> Message:
        broken = message.metadata.dst_node_id == 5
        return error_reply(message, CLIENT_RAISED, "no data") if broken else answer(message, trouble)

    run.grid._answer = without_data  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "fl_ef21"):
        assert [done.participants for done in trained(run, grid, 2)] == [4, 4]
    assert "a node could not say who it is: no data" in caplog.messages


# Farewells ------------------------------------------------------------------------------------------


def test_nobody_waits_for_the_farewell_of_those_who_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    run = everybody()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 2)
    del grid.there[3]
    began = grid.clock.now
    run.strategy.retire(grid)
    assert grid.clock.now - began < 0.2
    grid.takes = {0: 1e9}  # nobody knows that it is dead
    run.strategy.retire(grid)
    assert grid.clock.now - began < QUIET + 1


def test_a_reply_that_never_comes_as_a_whole_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower waits minutes for the rest of a reply that was offered; meanwhile the deadline passes."""
    run = everybody()
    grid = deploy(run, monkeypatch)
    run.strategy.nodes.enrol(grid)
    grid.takes = dict.fromkeys(range(1, N), 1.0)
    pull = grid.pull_messages

    def waits(names: Iterable[str]) -> list[Message]:
        got = list(pull(names))
        if half := [one for one in got if one.metadata.src_node_id == 1]:
            grid.clock.sleep(200.0)
            got = [one for one in got if one not in half]
            got += [error_reply(grid.sent[one.metadata.reply_to_message_id].message, 7, "no parts") for one in half]
        return got

    monkeypatch.setattr(grid, "pull_messages", waits)
    (done,) = trained(run, grid, 1, timeout=7.0)
    assert done.participants == N - 1 and done.refused == {"client raised": 1} and "no parts" in done.first
