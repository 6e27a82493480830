"""Semi-asynchronous rounds on a deployment: who works is left alone, and every reply counts once."""

from __future__ import annotations

import pytest

from tests.strategies.deployment import deploy, trained
from tests.strategies.kept import SGDM, N, Run, setup_of


def buffered(replies: int = 2, at_work: int = N) -> Run:
    return Run(setup_of(SGDM, participation=1.0, mode="buffered", buffer=replies, concurrency=at_work))


def test_a_round_is_over_with_so_many_replies_and_a_slow_one_counts_when_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = buffered()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    grid.takes = {2: 30.0}
    done = trained(run, grid, 6)
    assert all(one.participants >= 2 for one in done) and 2 in run.strategy.busy
    assert [round for round, client in grid.rounds if client == 2] == [1, 2]  # at work: asked no more
    grid.clock.now += 60
    grid.takes = {}
    (last,) = trained(run, grid, 1)
    assert max(last.staleness) == 6 and last.late == 1 and run.error() < 1e-14
    trained(run, grid, 3)
    assert run.strategy.audit(grid) is not None and run.error() < 1e-14


def test_no_more_clients_work_at_once_than_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    run = buffered(replies=1, at_work=2)
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    grid.takes = {client: 1.0 + client for client in range(N)}
    for _ in range(12):
        (done,) = trained(run, grid, 1)
        assert done.participants >= 1 and len(run.strategy.busy) <= 1 and done.invited <= 2
    assert run.error() < 1e-14


def test_who_does_not_answer_in_time_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = buffered(replies=N)
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    grid.takes = {1: 1e9}
    (done,) = trained(run, grid, 1, timeout=5.0)
    assert done.participants == N - 1 and not len(run.strategy.busy)
    grid.takes = {}
    (done,) = trained(run, grid, 1, timeout=5.0)
    assert done.participants == N and run.error() < 1e-14


def test_an_audit_between_does_not_cost_a_reply_that_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    run = buffered()
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    grid.takes = {2: 30.0}
    trained(run, grid, 2)
    grid.takes = {}
    assert run.strategy.audit(grid) is not None and 2 in run.strategy.busy
    grid.clock.now += 60
    (last,) = trained(run, grid, 1)
    assert 2 in run.strategy.used and not last.refused and run.error() < 1e-14
