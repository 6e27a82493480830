"""Cuts cost a few per cent of the time at the most, and little work is lost."""

from __future__ import annotations

import pytest

from scenarios.cadence import DEAREST, LATE, SHARE, SOON, Cadence


def simulate(seconds: float, cost: float, rounds: int) -> tuple[float, float]:
    """The share of the time that cuts take, and the most seconds of work between two of them."""
    cadence, now, last, lost, spent = Cadence(None, 0.0), 0.0, 0.0, 0.0, 0.0
    for round in range(1, rounds + 1):
        now += seconds
        lost = max(lost, now - last)
        if cadence.due(round, now):
            cadence.taken(now, now + cost)
            now += cost
            spent, last = spent + cost, now
    return spent / now, lost


@pytest.mark.parametrize("seconds", [0.05, 0.3, 40.0])
@pytest.mark.parametrize("cost", [0.01, 0.5, 5.0])
def test_cuts_are_rare_where_they_cost_and_never_too_rare(seconds: float, cost: float) -> None:
    share, lost = simulate(seconds, cost, int(20_000 / seconds))
    assert 0 < share <= SHARE * 1.1
    assert lost <= max(SOON, cost / SHARE) + seconds


def test_a_cut_that_is_dear_comes_every_few_minutes_still() -> None:
    share, lost = simulate(1.0, 30.0, 5_000)
    assert SHARE < share <= DEAREST and lost <= LATE + 1


def test_a_number_of_rounds_is_kept_to() -> None:
    cadence = Cadence(3, 0.0)
    assert [round for round in range(1, 10) if cadence.due(round, 1e9)] == [3, 6, 9]
