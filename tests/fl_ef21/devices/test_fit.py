"""A user's own measurements become the device they are of."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fl_ef21.devices import measurements
from fl_ef21.devices.fit import fit
from fl_ef21.devices.measurements import KINDS, Row
from fl_ef21.errors import InputError

HEAD = "device,kind,bytes,seconds\n"
ROWS = [
    *(Row("pi", "up", 0.05 + n / 1000, up=n) for n in (100, 2000, 5000)),
    *(Row("pi", "down", 0.05 + n / 8000, down=n) for n in (100, 20000, 50000)),
    *(Row("pi", "step", s) for s in (0.2, 0.3, 9.0)),
]


def write(folder: Path, text: str) -> Path:
    (folder / "mine.csv").write_text(text)
    return folder / "mine.csv"


def test_latency_and_rates_lie_on_the_line() -> None:
    device = fit("pi", ROWS, "raspberry")
    assert device.latency_seconds == pytest.approx(0.05, rel=1e-3)
    assert device.up_bytes_per_second == pytest.approx(1000, rel=1e-3)
    assert device.down_bytes_per_second == pytest.approx(8000, rel=1e-3)
    assert (device.step_seconds, device.overhead_seconds, device.kind) == (0.3, 0.0, "raspberry")
    assert device.share == 1 and device.measured["seconds"]["step"]["count"] == 3


def test_what_a_message_takes_besides_trips_and_bytes_is_overhead() -> None:
    pings = [Row("pi", "ping", 0.05)]
    slower = [Row(r.device, r.kind, r.seconds + 0.2, r.up, r.down) if r.kind != "step" else r for r in ROWS]
    device = fit("pi", slower + pings + [Row("pi", "overhead", 0.5)])
    assert device.overhead_seconds == pytest.approx(0.9, rel=1e-3)
    assert device.latency_seconds == pytest.approx(0.05, rel=1e-3)
    assert device.up_bytes_per_second == pytest.approx(1000, rel=1e-3)


def test_usual_is_what_neither_end_pulls_away() -> None:
    steps = [Row("pi", "step", s) for s in (0.1, 0.9, 1.0, 1.1, 1.0, 1.2, 1.0, 0.8, 1.0, 90.0)]
    assert fit("pi", [*ROWS[:6], *steps]).step_seconds == pytest.approx(1.0)


def test_transfers_of_one_size_without_pings_are_bytes_alone() -> None:
    rows = [Row("pi", "up", 2.0, up=1000)] * 3 + [Row("pi", "down", 1.0, down=4000)] * 3 + [Row("pi", "step", 1.0)]
    device = fit("pi", rows)
    assert (device.latency_seconds, device.up_bytes_per_second, device.down_bytes_per_second) == (
        0.0, pytest.approx(500), pytest.approx(4000),
    )  # fmt: skip


def test_a_ping_tells_latency_from_bytes_that_are_always_as_many() -> None:
    rows = [Row("pi", "up", 2.0, up=1000), Row("pi", "down", 1.0, down=4000), Row("pi", "ping", 0.5), ROWS[-1]]
    device = fit("pi", rows)
    assert device.latency_seconds == pytest.approx(0.5, rel=1e-3)
    assert device.up_bytes_per_second == pytest.approx(1000 / 1.5, rel=1e-3)


def test_a_link_that_shows_no_rate_has_none() -> None:
    rows = [Row("pi", "up", 0.5, up=n) for n in (10, 10**6)] + [Row("pi", "down", 0.5, down=n) for n in (10, 10**6)]
    device = fit("pi", [*rows, ROWS[-1]])
    assert math.isinf(device.up_bytes_per_second) and device.latency_seconds == pytest.approx(0.5)


def test_stretches_are_their_means() -> None:
    away = [Row("pi", "on", 100.0), Row("pi", "off", 10.0), Row("pi", "off", 40.0)]
    device = fit("pi", ROWS + away)
    assert (device.on_seconds, device.off_seconds, device.share) == (100.0, 25.0, 0.8)


@pytest.mark.parametrize("kind", ["up", "down", "step"])
def test_what_was_not_measured_is_named(kind: str) -> None:
    with pytest.raises(InputError, match=f"device pi = '{kind}': was not measured"):
        fit("pi", [row for row in ROWS if row.kind != kind])


def test_a_file_is_read_with_its_devices_in_their_order(tmp_path: Path) -> None:
    text = "kind,device,seconds,bytes,class\nstep,b,0.5,,slow\nup, a ,1.5,200,\nping,a,0.1,,\n"
    path = write(tmp_path, text)
    assert measurements.read(path) == [Row("b", "step", 0.5), Row("a", "up", 1.5, up=200), Row("a", "ping", 0.1)]
    assert list(measurements.by_device(measurements.read(path))) == ["b", "a"]
    assert measurements.classes(path) == {"b": "slow"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("device,kind,seconds\n", "row 1 = 'device,kind,seconds': has no column bytes"),
        (HEAD + "pi,up,10,1\npi,upp,10,1\n", "row 3, column kind = 'upp': is not known; did you mean 'up'?"),
        (HEAD + "pi,up,,1\n", "row 2, column bytes = '': must be a whole number of at least 1"),
        (HEAD + "pi,up,1.5,1\n", "row 2, column bytes = '1.5'"),
        (HEAD + "pi,step,,fast\n", "row 2, column seconds = 'fast': must be a number of at least 0"),
        (HEAD + "pi,step,,-1\n", "row 2, column seconds = '-1'"),
        (HEAD + "pi,step,,nan\n", "row 2, column seconds = 'nan'"),
        (HEAD + ",step,,1\n", "row 2, column device = '': must name the device"),
        (HEAD + "pi\n", "row 2, column kind = '': is not known"),
    ],
)
def test_a_mistake_is_told_by_row_and_column(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        measurements.read(write(tmp_path, text))
    assert told in str(caught.value) and "mine.csv" in str(caught.value)


def test_every_kind_of_row_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + "".join(f"pi,{kind},7,1\n" for kind in KINDS))
    assert [row.kind for row in measurements.read(path)] == list(KINDS)
