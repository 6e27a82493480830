"""Traces against sums written out by hand, and what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_ef21.devices.traces import Course, courses, intervals
from fl_ef21.errors import InputError
from tests.shared_data import system

MBPS = "t_s,mbps\n0,8\n1,0\n2,16\n3,8\n"  # 1, 0, 2, 1 million bytes in the seconds of a period of 4


def course(folder: Path, text: str = MBPS) -> Course:
    (folder / "link.csv").write_text(text)
    (found,) = courses(folder / "link.csv", "up", "link")
    return found


def seconds(found: Course, start: float, nbytes: float) -> float:
    return float(found.seconds(np.array([start]), np.array([nbytes]))[0])


@pytest.mark.parametrize(
    ("start", "megabytes", "takes"),
    [
        (0.0, 0.5, 0.5),
        (0.0, 1.0, 1.0),
        (0.5, 1.0, 1.75),  # half a second, a second of nothing, a quarter at twice the rate
        (1.0, 1.0, 1.5),
        (3.5, 1.0, 1.0),  # over the end
        (0.0, 4.0, 4.0),
        (0.0, 9.0, 9.0),  # two periods and the first second
        (402.0, 1.0, 0.5),
        (0.25, 0.0, 0.0),
    ],
)
def test_bytes_take_as_long_as_the_rates_say(tmp_path: Path, start: float, megabytes: float, takes: float) -> None:
    assert seconds(course(tmp_path), start, 1e6 * megabytes) == pytest.approx(takes)


@given(start=st.floats(0, 50), first=st.floats(1, 2e7), second=st.floats(1, 2e7))
def test_a_transfer_in_two_parts_takes_as_long_as_in_one(start: float, first: float, second: float) -> None:
    found = Course(np.array([0.0, 1.0, 2.0, 4.0]), np.array([0.0, 1e6, 1e6, 5e6]))
    one = seconds(found, start, first)
    assert one + seconds(found, start + one, second) == pytest.approx(seconds(found, start, first + second), abs=1e-6)


def test_the_mean_is_over_a_period(tmp_path: Path) -> None:
    assert course(tmp_path).mean == 1e6 and course(tmp_path).period == 4.0


def test_directions_and_traces_are_told_apart(tmp_path: Path) -> None:
    rows = ["source,trace,direction,t_s,mbps", "x,a,up,0,8", "x,a,down,0,80", "x,b,up,5,16", "x,b,up,7,16"]
    with gzip.open(tmp_path / "links.csv.gz", "wt") as file:
        file.write("\n".join(rows))
    up, down = (courses(tmp_path / "links.csv.gz", way, "link") for way in ("up", "down"))
    assert [one.mean for one in up] == [1e6, 2e6] and [one.period for one in up] == [1.0, 4.0]
    assert [one.mean for one in down] == [1e7]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("t_s,rate\n0,1\n", "columns t_s, mbps"),
        ("t_s,mbps\n", "columns t_s, mbps"),
        ("t_s,mbps\n0,1\n0,2\n", "t_s must increase"),
        ("t_s,mbps\n0,0\n", "nor 0 in all"),
        ("t_s,mbps\n0,-1\n", "must not be negative"),
        ("t_s,mbps\n0,x\n", "column mbps"),
        ("t_s,mbps\n0,nan\n", "finite"),
        ("t_s,mbps,direction\n0,1,down\n", "no rows of direction 'up'"),
    ],
)
def test_what_is_wrong_with_a_link_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        course(tmp_path, text)


DAYS = "device,start_s,end_s\nb,5,6\na,0,1\na,2,4\nb,9,10\n"  # a is the second device of the file


@pytest.mark.parametrize(
    ("device", "time", "there"),
    [(1, 0.5, 0.5), (1, 1.0, 2.0), (1, 3.0, 3.0), (1, 4.0, 10.0), (0, 0.0, 5.0), (0, 7.0, 9.0), (0, 21.0, 25.0)],
)
def test_who_is_away_is_there_at_its_next_interval(tmp_path: Path, device: int, time: float, there: float) -> None:
    (tmp_path / "there.csv").write_text(DAYS)
    found = intervals(tmp_path / "there.csv", None, "there")
    assert found.devices == 2 and found.period == 10.0
    assert found.next_on(np.array([device]), np.array([time])).tolist() == [there]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("device,start_s\na,1\n", "columns device, start_s, end_s"),
        ("device,start_s,end_s\na,2,1\n", "start_s < end_s"),
        ("device,start_s,end_s\na,-1,1\n", "0 <= start_s"),
        ("device,start_s,end_s\na,0,2\na,1,3\n", "must not overlap"),
    ],
)
def test_what_is_wrong_with_intervals_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "there.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        intervals(tmp_path / "there.csv", None, "there")


def test_published_traces_can_be_read() -> None:
    up = courses(system("bandwidth_cellular_updown.csv.gz"), "up", "link")
    assert len(up) == 6 and all(5e4 < one.mean < 5e6 for one in up)
    phones = intervals(system("availability_strict.csv.gz"), 50 * 3600.0 * 10, "there")
    asked = np.arange(phones.devices)
    later = phones.next_on(asked, np.full(phones.devices, 28 * 3600.0))
    assert 700 < int((later == 28 * 3600.0).sum()) < 850  # 771 are ready at hour 28
