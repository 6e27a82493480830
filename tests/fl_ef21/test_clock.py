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
    told = Work(ids, ids * 0 + 2000, ids * 0 + 8000, 8, ids * 0 + 3.0)
    return replace(told, **changes)


def turn(
    clock: Clock, fleet: Fleet, asked: Work, answered: Any = True, deadline: float | None = None,
    wanted: int | None = None,
) -> tuple[Clock, Any]:  # fmt: skip
    """One synchronous round: the clock after it, and who is on time."""
    spans = clock.spans(fleet, asked)
    now, on_time = clock.synchronous(fleet, spans, np.full(len(asked.clients), answered), deadline, wanted)
    return clock.after(now, spans), on_time


def test_one_client_takes_its_trips_its_bytes_and_its_steps() -> None:
    clock, on_time = turn(Clock.start(1), Fleet.of([DEVICE], 1), work(1))
    assert clock.now == ONE_ROUND and on_time.all()


@pytest.mark.parametrize("clients", [2, 17])
def test_equal_clients_take_as_long_as_one(clients: int) -> None:
    clock = Clock.start(clients)
    for _ in range(3):
        clock, _ = turn(clock, Fleet.of([DEVICE], clients), work(clients))
    assert clock.now == 3 * ONE_ROUND


def test_the_slowest_of_those_asked_decides() -> None:
    slow = replace(DEVICE, step_seconds=7.0)
    fleet = Fleet.of([DEVICE, slow, DEVICE], 3)
    with_it, _ = turn(Clock.start(3), fleet, work(3))
    without = replace(work(3), **{f: getattr(work(3), f)[[0, 2]] for f in ("clients", "up", "down", "steps")})
    assert with_it.now == ONE_ROUND + 3 * 6.5
    assert turn(Clock.start(3), fleet, without)[0].now == ONE_ROUND


def test_clients_take_devices_in_turn() -> None:
    fleet = Fleet.of([replace(DEVICE, step_seconds=1.0), replace(DEVICE, step_seconds=2.0)], 5)
    assert fleet.step(np.arange(5)).tolist() == [1.0, 2.0, 1.0, 2.0, 1.0]


def test_at_the_deadline_the_round_is_over_and_who_is_slower_is_late_and_busy() -> None:
    fleet = Fleet.of([DEVICE, replace(DEVICE, step_seconds=7.0)], 2)
    clock, on_time = turn(Clock.start(2), fleet, work(2), deadline=10.0)
    assert clock.now == 10.0 and on_time.tolist() == [True, False]
    again, on_time = turn(clock, fleet, work(2), deadline=1000.0)
    assert on_time.all()
    assert again.now == 2 * (ONE_ROUND + 3 * 6.5)  # it began when it had sent its late reply


def test_a_deadline_that_everybody_meets_costs_nothing() -> None:
    fleet = Fleet.of([DEVICE], 4)
    assert turn(Clock.start(4), fleet, work(4), deadline=50.0)[0].now == turn(Clock.start(4), fleet, work(4))[0].now


def test_who_never_answers_is_waited_for_until_the_deadline_alone() -> None:
    fleet, silent = Fleet.of([DEVICE], 2), np.array([True, False])
    assert turn(Clock.start(2), fleet, work(2), silent)[0].now == ONE_ROUND
    assert turn(Clock.start(2), fleet, work(2), silent, deadline=60.0)[0].now == 60.0


def test_with_enough_replies_the_round_is_over_and_the_others_are_late() -> None:
    fleet = Fleet.of([replace(DEVICE, step_seconds=float(i)) for i in (4, 1, 3, 2, 3)], 5)
    clock, on_time = turn(Clock.start(5), fleet, work(5), wanted=3)
    assert on_time.tolist() == [False, True, True, True, False]  # of two that arrive together the first client
    assert clock.now == ONE_ROUND + 3 * 2.5 and clock.free.max() == ONE_ROUND + 3 * 3.5
    assert turn(Clock.start(5), fleet, work(5), deadline=100.0, wanted=3)[0].now == clock.now
    none, on_time = turn(Clock.start(5), fleet, work(5), deadline=ONE_ROUND + 3, wanted=3)
    assert none.now == ONE_ROUND + 3 and on_time.sum() == 1


def test_a_device_that_polls_begins_at_its_first_question_after_the_round_has() -> None:
    polling = replace(DEVICE, poll_seconds=1.875)  # a question every 2 s
    fleet = Fleet.of([polling, replace(polling, step_seconds=1.0)], 2)
    first, _ = turn(Clock.start(2), fleet, work(2))
    assert first.now == ONE_ROUND + 1.5
    second, _ = turn(first, fleet, work(2))  # the first client asked at 6.75 and asks at 8.75, the other at 8.25
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
        clock, _ = turn(clock, fleet, work(2), deadline=ONE_ROUND)
    assert clock.now == 3 * (ONE_ROUND + 0.75)


def test_virtual_time_does_not_depend_on_the_order_in_which_clients_are_named() -> None:
    devices = [replace(DEVICE, step_seconds=float(i + 1), off_seconds=10.0, on_seconds=20.0) for i in range(6)]
    fleet, turned = Fleet.of(devices, 6, seed=4), np.array([3, 0, 5, 1, 4, 2])
    there = work(6, up=np.arange(6) * 500)
    other = replace(work(6), clients=turned, up=turned * 500)
    a, _ = turn(Clock.start(6), fleet, there)
    b, _ = turn(Clock.start(6), Fleet.of(devices, 6, seed=4), other)
    assert a.now == b.now and np.array_equal(a.free, b.free)


def test_a_device_that_is_away_begins_when_it_is_back() -> None:
    fleet = Fleet.of([replace(DEVICE, on_seconds=5.0, off_seconds=50.0)], 40, seed=1)
    clock, _ = turn(Clock.start(40), fleet, work(40))
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


# Buffered -------------------------------------------------------------------------------------------


def test_a_buffered_round_is_over_with_so_many_replies_and_the_others_stay_on_their_way() -> None:
    fleet, arrives = Fleet.of([DEVICE], 5), np.array([9.0, 2.0, 7.0, 2.0, 4.0])
    now, there = Clock.start(5).buffered(fleet, arrives, wanted=3)
    assert now == 4.0 and there.tolist() == [False, True, False, True, True]
    assert Clock.start(5).buffered(fleet, arrives, wanted=8)[0] == 9.0
    assert Clock.start(5).buffered(fleet, arrives[:0], wanted=1)[0] == 0.0


def test_at_its_deadline_a_buffered_round_takes_fewer_but_not_none() -> None:
    fleet, arrives = Fleet.of([DEVICE], 3), np.array([5.0, 8.0, 9.0])
    now, there = Clock.start(3).buffered(fleet, arrives, wanted=3, deadline=8.5)
    assert now == 8.5 and there.sum() == 2
    now, there = Clock.start(3).buffered(fleet, arrives, wanted=3, deadline=1.0)
    assert now == 5.0 and there.tolist() == [True, False, False]


def test_two_speeds_with_a_buffer_of_one_step_at_the_pace_of_whoever_is_there() -> None:
    """The quick one answers every ONE_ROUND, the slow one every third of them."""
    slow = replace(DEVICE, step_seconds=0.5 + 2 * ONE_ROUND / 3)
    fleet, clock = Fleet.of([DEVICE, slow], 2), Clock.start(2)
    spans = clock.spans(fleet, work(2))
    flying, times = dict(enumerate(spans.arrives.tolist())), []
    clock = clock.after(0.0, spans)
    for _ in range(4):
        clients, arrives = np.array(list(flying)), np.array(list(flying.values()))
        now, there = clock.buffered(fleet, arrives, wanted=1)
        clock, back = replace(clock, now=now), clients[there]
        spans = clock.spans(fleet, replace(work(len(back)), clients=back))
        clock = clock.after(now, spans)
        flying |= dict(zip(back.tolist(), spans.arrives.tolist(), strict=True))
        times.append(now / ONE_ROUND)
    assert times == pytest.approx([1, 2, 3, 4])
    assert clock.free.tolist() == pytest.approx([5 * ONE_ROUND, 6 * ONE_ROUND])
