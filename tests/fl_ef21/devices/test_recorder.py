"""A node that tells of itself is measured as it is."""

from __future__ import annotations

from math import ceil

import pytest

from fl_ef21.devices.fit import fit
from fl_ef21.devices.profile import Device
from fl_ef21.devices.recorder import GAP, Recorder

FLEET = "/v1/fleet/"


class Node:
    """Acts as a SuperNode with a link of known properties would, in a time of its own."""

    def __init__(self, latency: float, up: float, down: float, poll: float) -> None:
        self.latency, self.up, self.down, self.poll, self.now = latency, up, down, poll, 100.0
        self.seen = Recorder("it", local_steps=4, clock=lambda: self.now)

    def exchange(self, word: str, up: int, down: int) -> None:
        seconds = self.latency + up / self.up + down / self.down
        self.now += seconds
        self.seen.exchange(FLEET + word, up, down, seconds)

    def two_at_a_time(self, word: str, sizes: list[tuple[int, int]]) -> None:
        for at in range(0, len(sizes), 2):
            pair = sizes[at : at + 2]
            seconds = self.latency + sum(u for u, _ in pair) / self.up + sum(d for _, d in pair) / self.down
            self.now += seconds
            for up, down in pair:
                self.seen.exchange(FLEET + word, up, down, seconds)

    def idle(self, times: int) -> None:
        for _ in range(times):
            self.exchange("pull-messages", 400, 150)
            self.now += self.poll

    def message(self, model: int, payload: int, step: float, overhead: float, kind: str = "train") -> None:
        self.exchange("pull-messages", 400, 900)
        self.two_at_a_time("pull-object", [(500, 300)] * 5 + [(500, model)])
        self.exchange("confirm-message-received", 500, 140)
        self.now += overhead / 2
        self.now += 4 * step
        self.seen.task(kind, 4 * step)
        self.now += overhead / 2
        self.exchange("push-messages", 1200, 700)
        self.two_at_a_time("push-object", [(600, 160)] * 2 + [(600 + payload, 160)])


def recorded(node: Node) -> Device:
    device = node.seen.device("pi")
    assert device is not None
    return device


@pytest.fixture
def node() -> Node:
    node = Node(latency=0.04, up=20_000.0, down=125_000.0, poll=0.5)
    for at in range(12):
        node.idle(2)
        node.message(model=31_600, payload=3_000 + 500 * (at % 5), step=0.2, overhead=0.3)
    node.idle(2)
    return node


def test_a_link_is_what_it_is(node: Node) -> None:
    device = recorded(node)
    assert device.latency_seconds == pytest.approx(0.04, rel=1e-3)
    assert device.up_bytes_per_second == pytest.approx(20_000, rel=1e-3)
    assert device.down_bytes_per_second == pytest.approx(125_000, rel=1e-3)
    assert device.poll_seconds == pytest.approx(0.5)


def test_a_step_is_the_apps_and_the_rest_is_overhead(node: Node) -> None:
    device = recorded(node)
    assert device.step_seconds == pytest.approx(0.2) and device.overhead_seconds == pytest.approx(0.3)


def test_a_task_told_of_after_its_reply_went_counts_too(node: Node) -> None:
    late = Node(0.04, 20_000.0, 125_000.0, 0.5)
    for _ in range(3):
        late.exchange("pull-messages", 400, 900)
        late.two_at_a_time("pull-object", [(500, 300)] * 6)
        late.exchange("confirm-message-received", 500, 140)
        late.now += 2.0
        late.exchange("push-messages", 1200, 700)
        late.seen.task("train", 1.6)
        late.two_at_a_time("push-object", [(600, 160)] * 3)
        late.idle(1)
    device = recorded(late)
    assert device.step_seconds == pytest.approx(0.4) and device.overhead_seconds == pytest.approx(0.4)


def test_a_task_that_began_before_its_message_was_there_is_not_longer_than_the_time_between() -> None:
    early = Node(0.04, 20_000.0, 125_000.0, 0.5)
    early.message(model=31_600, payload=3_000, step=0.2, overhead=0.0)
    for _ in range(3):
        early.exchange("pull-messages", 400, 900)
        early.two_at_a_time("pull-object", [(500, 300)] * 6)
        early.exchange("confirm-message-received", 500, 140)
        early.now += 0.8
        early.seen.task("train", 5.0)
        early.exchange("push-messages", 1200, 700)
        early.two_at_a_time("push-object", [(600, 160)] * 3)
        early.idle(1)
    device = recorded(early)
    assert device.step_seconds == pytest.approx(0.2) and device.overhead_seconds == pytest.approx(0, abs=1e-9)


def test_questions_that_are_no_training_are_transfers_and_no_steps(node: Node) -> None:
    before = sum(row.kind == "step" for row in node.seen.rows())
    node.message(model=0, payload=40_000, step=9.0, overhead=0.1, kind="query")
    node.idle(1)
    rows = node.seen.rows()
    assert sum(row.kind == "step" for row in rows) == before
    assert max(row.up for row in rows if row.kind == "up") > 40_000


def test_an_app_on_its_way_is_no_part_of_a_message(node: Node) -> None:
    node.exchange("pull-messages", 400, 900)
    node.exchange("get-run", 400, 400)
    node.exchange("get-fab", 400, 900_000)
    node.two_at_a_time("pull-object", [(500, 300)] * 6)
    node.exchange("confirm-message-received", 500, 140)
    last = [row for row in node.seen.rows() if row.kind == "down"][-1]
    assert last.down < 3000 and last.trips == 4


def test_silence_is_being_away_and_the_time_on_is_shared_by_the_absences(node: Node) -> None:
    begun = 100.0
    node.now += 1000.0
    node.idle(3)
    away, on = node.now, node.now - begun - 1000.0 - 0.5  # the last pause is not over
    device = recorded(node)
    assert device.off_seconds == pytest.approx(1000.5, rel=1e-3) and away > 1000
    assert device.on_seconds == pytest.approx(on, rel=0.02)


def test_a_heartbeat_shows_that_it_is_there(node: Node) -> None:
    for _ in range(4):
        node.now += GAP / 2
        node.exchange("send-node-heartbeat", 300, 200)
    assert recorded(node).off_seconds == 0


def test_too_little_is_no_device() -> None:
    node = Node(0.04, 20_000.0, 125_000.0, 0.5)
    node.idle(5)
    assert node.seen.device("pi") is None


def test_a_stalled_transfer_does_not_bend_the_line(node: Node) -> None:
    rows = node.seen.rows()
    stalled = [
        row if i % 9 else type(row)(row.device, row.kind, row.seconds + 5, row.up, row.down, row.trips)
        for i, row in enumerate(rows)
    ]
    device = fit("it", stalled)
    assert device.latency_seconds == pytest.approx(0.04, rel=0.02)
    assert device.down_bytes_per_second == pytest.approx(125_000, rel=0.02)


def test_trips_are_counted_as_the_clock_counts_them(node: Node) -> None:
    from fl_ef21 import flower_traffic

    down, up = ([row for row in node.seen.rows() if row.kind == kind][-1] for kind in ("down", "up"))
    assert down.trips == 2 + ceil(6 / flower_traffic.WORKERS) and up.trips == 1 + ceil(3 / flower_traffic.WORKERS)
    assert down.trips + up.trips == flower_traffic.trips()
