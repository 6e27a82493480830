"""Whatever goes wrong: g = sum_i w_i g_i to the last bit, no committed round is lost, and nobody stays out for ever."""

from __future__ import annotations

import pytest

from tests.protocol.mutants import no_duplicate_check
from tests.protocol.network import FATES
from tests.protocol.replay import corpus, fault, simplest, survive
from tests.protocol.schedule import CRASHES, EVENTS, Schedule, drawn
from tests.protocol.world import WORLDS

SCHEDULES, NIGHTLY, TOGETHER = 1_000, 20_000, 50


@pytest.mark.parametrize("first", range(0, SCHEDULES, TOGETHER))
def test_no_schedule_of_faults_breaks_the_sum(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        survive(seed)


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(SCHEDULES, SCHEDULES + NIGHTLY, 1_000))
def test_nor_does_any_of_twenty_thousand_more(first: int) -> None:
    for seed in range(first, first + 1_000):
        survive(seed)


@pytest.mark.parametrize("schedule", corpus(), ids=lambda s: s.world)
def test_what_broke_something_once_does_not_again(schedule: Schedule) -> None:
    assert fault(schedule) == ""


def test_a_schedule_is_read_as_it_was_told() -> None:
    for seed in range(20):
        assert Schedule.read(drawn(seed).text()) == drawn(seed)


def test_all_kinds_of_faults_worlds_and_stores_are_among_the_first_ones() -> None:
    schedules = [drawn(seed) for seed in range(100)]
    steps = [step for schedule in schedules for step in schedule.steps]
    assert {fate.kind for step in steps for fate in step.fates} == set(FATES)
    assert {event.kind for step in steps for event in step.events} == set(EVENTS)
    assert {step.crash for step in steps} == {"", *CRASHES}
    assert {(s.world, s.disk) for s in schedules} == {(world, disk) for world in WORLDS for disk in (False, True)}


def test_the_simplest_schedule_that_breaks_is_found() -> None:
    def broken(schedule: Schedule) -> str:
        return "bye" if any(fate.kind == "bye" for step in schedule.steps for fate in step.fates) else ""

    seed = next(seed for seed in range(100) if broken(drawn(seed)))
    found = simplest(drawn(seed), broken)
    assert [str(step) for step in found.steps[:-1]] == ["nothing"] * (len(found.steps) - 1)
    assert [fate.kind for fate in found.steps[-1].fates if fate.kind != "none"] == ["bye"]


def test_a_broken_schedule_is_told_with_the_command_that_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    no_duplicate_check(monkeypatch)
    with pytest.raises(AssertionError, match=r"python -m tests\.protocol\.replay --seed 0"):
        survive(0)
