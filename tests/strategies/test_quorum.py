"""More clients are asked than are wanted, and rounds with too few replies have no effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from strategies.flower_quorum import asked
from strategies.rounds import Round
from tests.faulty_grid import Fault, Turn
from tests.strategies.deployment import deploy, trained
from tests.strategies.kept import EF14, SGDM, N, Run, setup_of

NOBODY = Turn((Fault("lose reply"),) * N)
FINE = Turn((Fault(),) * N)


def losing(*clients: int) -> Turn:
    return Turn(tuple(Fault("lose reply") if i in clients else Fault() for i in range(N)))


def run_of(method: dict[str, Any] = SGDM, **train: Any) -> Run:
    return Run(setup_of(method, **{"participation": 0.4} | train))


def rounds(run: Run, until: int) -> Iterator[Round]:
    return (run.strategy.last for _ in run.rounds(until))


def test_a_factor_that_cannot_be_written_in_binary_asks_no_one_more() -> None:
    assert [asked(10, factor) for factor in (1.0, 1.1, 1.2, 1.25, 1.3)] == [10, 11, 12, 13, 13]


@pytest.mark.parametrize("method", [SGDM, EF14], ids=lambda m: m["name"])
def test_in_a_simulation_the_first_that_were_drawn_are_those_who_would_be_asked_alone(method: dict[str, Any]) -> None:
    alone, many = run_of(method), run_of(method, over_selection=2.0)
    few, more = list(rounds(alone, 8)), list(rounds(many, 8))
    assert many.strategy.digest() == alone.strategy.digest()
    begins = method is SGDM  # then everybody is asked in the first round
    assert [done.participants for done in more] == [done.participants for done in few]
    assert [done.invited for done in more] == [N if begins else 4] + [4] * 7
    assert [done.surplus for done in more][1:] == [2] * 7 and not any(done.refused for done in more)
    assert sum(done.uplink_bytes for done in more) > sum(done.uplink_bytes for done in few)  # all of it was sent


def test_what_the_surplus_cost_is_in_the_traffic() -> None:
    run = run_of(over_selection=2.0)
    *_, done = rounds(run, 3)
    assert done.traffic is not None and done.traffic.answered.sum() == 4
    assert done.traffic.uplink.payload_bytes.sum() == done.uplink_bytes


def test_a_reply_that_is_lost_or_damaged_is_made_good_by_another() -> None:
    run = run_of(over_selection=2.0)
    drawn = run.strategy.invite(2).tolist()
    run.grid.turns = [FINE, losing(drawn[0]), Turn(tuple(Fault("NaN payload", 0) for _ in range(N)))]
    done = list(rounds(run, 4))
    assert [one.participants for one in done] == [N, 2, 0, 2]
    assert done[1].surplus == 1 and done[2].refused == {"values": 4} and done[2].surplus == 0
    assert run.error() < 1e-14


def test_the_surplus_is_added_with_the_next_round_where_late_replies_are() -> None:
    run = run_of(over_selection=2.0, late="apply")
    done = list(rounds(run, 12))
    again = [one.refused.get("stale", 0) for one in done]  # of clients that were asked again at once
    assert [one.late + stale for one, stale in zip(done, again, strict=True)] == [0, 0] + [2] * 10
    assert sum(one.late for one in done) > 0 and run.error() < 1e-14


def test_bytes_of_a_surplus_that_is_added_later_are_counted_once() -> None:
    done = list(rounds(run_of(over_selection=2.0, late="apply"), 6))
    came = [int(one.traffic.uplink.payload_bytes.sum()) for one in done if one.traffic is not None]
    assert sum(one.late for one in done) > 0 and [one.uplink_bytes for one in done] == came


def test_on_a_deployment_a_round_is_over_with_the_first_usable_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(over_selection=2.0)
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    some = run.strategy.invite(2).tolist()
    grid.takes = dict(zip(some, (900.0, 4.0, 500.0, 2.0), strict=True))
    began, before = grid.clock.now, run.strategy.ledger.points.version.copy()
    (done,) = trained(run, grid, 1)
    assert grid.clock.now - began < 6 and (done.invited, done.participants, done.surplus) == (4, 2, 0)
    ahead = np.flatnonzero(run.strategy.ledger.points.version - before)
    assert ahead.tolist() == sorted([some[1], some[3]])
    grid.takes = {}
    trained(run, grid, 5)
    assert run.error() < 1e-14


def test_on_a_deployment_what_cannot_be_used_does_not_end_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(over_selection=2.0)
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    some, answer = run.strategy.invite(2).tolist(), run.grid._answer
    grid.takes = dict(zip(some, (1.0, 2.0, 3.0, 4.0), strict=True))
    run.grid._answer = lambda message, trouble="": answer(  # type: ignore[method-assign]
        message, "NaN gradient" if message.metadata.dst_node_id in (some[0] + 1, some[1] + 1) else trouble
    )
    (done,) = trained(run, grid, 1)
    assert done.participants == 2 and done.refused == {"gradient": 2} and done.surplus == 0


# Rounds that are abandoned --------------------------------------------------------------------------


@pytest.mark.parametrize("late", ["discard", "apply"])
def test_a_round_with_too_few_replies_has_no_effect(late: str) -> None:
    run, undisturbed = run_of(participation=1.0, min_reports=3, late=late), run_of(participation=1.0)
    run.grid.turns = [FINE, losing(0, 1, 2), losing(0, 1), NOBODY, FINE]
    steps = rounds(run, 5)
    assert not next(steps).abandoned
    digest = run.strategy.digest()
    done = next(steps)
    assert done.abandoned and done.participants == 0 and run.strategy.digest() == digest
    assert done.uplink_bytes > 0 and done.traffic is not None and done.traffic.answered.sum() == 2
    assert run.error() < 1e-14
    assert [(one.abandoned, one.participants) for one in steps] == [(False, 3), (True, 0), (False, N)]
    assert run.error() < 1e-14 and not run.strategy._lacking
    undisturbed.to(3)
    assert run.strategy.digest() != undisturbed.strategy.digest()  # samples are of the round, abandoned or not


def test_late_replies_do_not_save_a_round() -> None:
    run = run_of(participation=1.0, min_reports=3, late="apply")
    late = Turn(tuple(Fault("late reply", 0) for _ in range(N)))
    run.grid.turns = [FINE, late, NOBODY, FINE]
    assert [done.abandoned for done in rounds(run, 4)] == [False, True, True, False]
    assert run.error() < 1e-14


def test_an_abandoned_round_can_be_made_again_without_the_clients() -> None:
    run = run_of(EF14, participation=0.6, min_reports=3)
    run.grid.turns = [FINE, NOBODY, FINE]
    again = run.server()
    for done in rounds(run, 4):
        again.redo(run.strategy.commit())
        assert again.digest() == run.strategy.digest() and again.last.number == done.number
    assert again.guard.typical == run.strategy.guard.typical


def test_an_abandoned_first_round_leaves_the_guard_as_it_was() -> None:
    run = run_of(SGDM, participation=1.0, min_reports=3)
    run.grid.turns = [NOBODY, FINE]
    again = run.server()
    for _ in rounds(run, 2):
        again.redo(run.strategy.commit())
    assert again.guard.typical == run.strategy.guard.typical and again.digest() == run.strategy.digest()


def test_who_leaves_in_an_abandoned_round_has_left() -> None:
    run = run_of(participation=1.0, min_reports=3)
    run.grid.turns = [FINE, FINE, NOBODY, FINE]
    again = run.server()
    for done in rounds(run, 5):
        again.redo(run.strategy.commit())
        assert again.digest() == run.strategy.digest()
        if done.number == 2:
            run.strategy.leave(1)
    assert run.strategy.members.ids().tolist() == [0, 2, 3, 4] and run.error() < 1e-14


def test_a_deployment_waits_for_as_many_as_a_round_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(participation=1.0, min_reports=3)
    grid = deploy(run, monkeypatch)
    trained(run, grid, 1)
    gone = {node: grid.there.pop(node) for node in (1, 2, 3)}
    began = grid.clock.now
    grid.at = [(began + 40, lambda: grid.there.update(gone))]
    (done,) = trained(run, grid, 1)
    assert not done.abandoned and done.participants == N and 40 <= grid.clock.now - began < 45
    for node in (1, 2, 3):
        del grid.there[node]
    began = grid.clock.now
    (done,) = trained(run, grid, 1)
    assert done.abandoned and grid.clock.now - began > 100
