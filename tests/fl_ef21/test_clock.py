"""Virtual time against closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fl_ef21.clock import Clock, Work
from fl_ef21.devices.availability import Stretches
from fl_ef21.devices.fleet import Fleet, Looks
from fl_ef21.devices.profile import Device

DEVICE = Device(
    "one", step_seconds=0.5, up_bytes_per_second=1000.0, down_bytes_per_second=4000.0, overhead_seconds=0.25,
    latency_seconds=0.125, poll_seconds=0.0,
)  # fmt: skip
ONE_ROUND = 8 * 0.125 + 2000 / 1000 + 8000 / 4000 + 0.25 + 3 * 0.5  # of `work`


def work(clients: int, **changes: Any) -> Work:
    ids = np.arange(clients)
    told = Work(ids, ids * 0 + 2000, ids * 0 + 8000, 8, ids * 0 + 3.0, ids >= 0)
    return replace(told, **changes)


def test_one_client_takes_its_trips_its_bytes_and_its_steps() -> None:
    clock, on_time = Clock.start(1).round(Fleet.of([DEVICE], 1), work(1))
    assert clock.now == ONE_ROUND and on_time.all()


@pytest.mark.parametrize("clients", [2, 17])
def test_equal_clients_take_as_long_as_one(clients: int) -> None:
    clock = Clock.start(clients)
    for _ in range(3):
        clock, _ = clock.round(Fleet.of([DEVICE], clients), work(clients))
    assert clock.now == 3 * ONE_ROUND


def test_the_slowest_of_those_asked_decides() -> None:
    slow = replace(DEVICE, step_seconds=7.0)
    fleet = Fleet.of([DEVICE, slow, DEVICE], 3)
    with_it, _ = Clock.start(3).round(fleet, work(3))
    without = replace(
        work(3), **{f: getattr(work(3), f)[[0, 2]] for f in ("clients", "up", "down", "steps", "answered")}
    )
    assert with_it.now == ONE_ROUND + 3 * 6.5
    assert Clock.start(3).round(fleet, without)[0].now == ONE_ROUND


def test_clients_take_devices_in_turn() -> None:
    fleet = Fleet.of([replace(DEVICE, step_seconds=1.0), replace(DEVICE, step_seconds=2.0)], 5)
    assert fleet.step(np.arange(5)).tolist() == [1.0, 2.0, 1.0, 2.0, 1.0]


def test_at_the_deadline_the_round_is_over_and_who_is_slower_is_late_and_busy() -> None:
    fleet = Fleet.of([DEVICE, replace(DEVICE, step_seconds=7.0)], 2)
    clock, on_time = Clock.start(2).round(fleet, work(2), deadline=10.0)
    assert clock.now == 10.0 and on_time.tolist() == [True, False]
    again, on_time = clock.round(fleet, work(2), deadline=1000.0)
    assert on_time.all()
    assert again.now == 2 * (ONE_ROUND + 3 * 6.5)  # it began when it had sent its late reply


def test_a_deadline_that_everybody_meets_costs_nothing() -> None:
    fleet = Fleet.of([DEVICE], 4)
    assert Clock.start(4).round(fleet, work(4), deadline=50.0)[0].now == Clock.start(4).round(fleet, work(4))[0].now


def test_who_never_answers_is_waited_for_until_the_deadline_alone() -> None:
    fleet, silent = Fleet.of([DEVICE], 2), work(2, answered=np.array([True, False]))
    assert Clock.start(2).round(fleet, silent)[0].now == ONE_ROUND
    assert Clock.start(2).round(fleet, silent, deadline=60.0)[0].now == 60.0


def test_with_enough_replies_the_round_is_over_and_the_others_are_late() -> None:
    fleet = Fleet.of([replace(DEVICE, step_seconds=float(i)) for i in (4, 1, 3, 2, 3)], 5)
    clock, on_time = Clock.start(5).round(fleet, work(5), wanted=3)
    assert on_time.tolist() == [False, True, True, True, False]  # of two that arrive together the first client
    assert clock.now == ONE_ROUND + 3 * 2.5 and clock.free.max() == ONE_ROUND + 3 * 3.5
    assert Clock.start(5).round(fleet, work(5), deadline=100.0, wanted=3)[0].now == clock.now
    none, on_time = Clock.start(5).round(fleet, work(5), deadline=ONE_ROUND + 3, wanted=3)
    assert none.now == ONE_ROUND + 3 and on_time.sum() == 1


def test_a_device_that_polls_begins_at_its_first_question_after_the_round_has() -> None:
    polling = replace(DEVICE, poll_seconds=1.875)  # a question every 2 s
    fleet = Fleet.of([polling, replace(polling, step_seconds=1.0)], 2)
    first, _ = Clock.start(2).round(fleet, work(2))
    assert first.now == ONE_ROUND + 1.5
    second, _ = first.round(fleet, work(2))  # the first client asked at 6.75 and asks at 8.75, the other at 8.25
    assert second.free.tolist() == [2 * ONE_ROUND + 2.0, 2 * (ONE_ROUND + 1.5)]


def test_a_server_sees_a_reply_at_its_next_look() -> None:
    looks = Looks(1.0, 4.0, 2.0)  # after 1, 3, 7, 11, 15, ...
    assert looks.seen(0.0, np.array([6.0])) == 7.0
    assert looks.seen(0.0, np.array([7.5])) == 11.0
    assert looks.seen(10.0, np.array([12.5, 13.5])) == 14.0  # looks at 11 and 13, and soon again


def test_what_the_server_takes_comes_before_what_devices_take_and_is_in_no_deadline() -> None:
    fleet = replace(Fleet.of([DEVICE], 2), server=0.75)
    clock = Clock.start(2)
    for _ in range(3):
        clock, _ = clock.round(fleet, work(2), deadline=ONE_ROUND)
    assert clock.now == 3 * (ONE_ROUND + 0.75)


def test_virtual_time_does_not_depend_on_the_order_in_which_clients_are_named() -> None:
    devices = [replace(DEVICE, step_seconds=float(i + 1), off_seconds=10.0, on_seconds=20.0) for i in range(6)]
    fleet, turned = Fleet.of(devices, 6, seed=4), np.array([3, 0, 5, 1, 4, 2])
    there = work(6, up=np.arange(6) * 500)
    other = replace(work(6), clients=turned, up=turned * 500)
    a, _ = Clock.start(6).round(fleet, there)
    b, _ = Clock.start(6).round(Fleet.of(devices, 6, seed=4), other)
    assert a.now == b.now and np.array_equal(a.free, b.free)


def test_a_device_that_is_away_begins_when_it_is_back() -> None:
    fleet = Fleet.of([replace(DEVICE, on_seconds=5.0, off_seconds=50.0)], 40, seed=1)
    clock, _ = Clock.start(40).round(fleet, work(40))
    begins = clock.free - ONE_ROUND
    back = [Stretches(1, i, 5.0, 50.0).next_on(0.0) for i in range(40)]
    assert begins == pytest.approx(back) and 0 < sum(begins == 0) < 20


def test_stretches_are_as_long_and_as_often_on_as_they_say() -> None:
    on, off, looks = 30.0, 10.0, 2000
    share = np.mean(
        [Stretches(0, i, on, off).next_on(t) == t for i in range(20) for t in np.linspace(0, 4000, looks // 20)]
    )
    assert share == pytest.approx(on / (on + off), abs=0.05)


def test_stretches_do_not_depend_on_what_was_asked_before() -> None:
    asked = Stretches(3, 7, 2.0, 3.0)
    for time in (900.0, 5.0, 400.0):
        assert asked.next_on(time) == Stretches(3, 7, 2.0, 3.0).next_on(time)
