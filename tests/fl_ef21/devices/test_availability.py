"""When devices are there: long-run shares in closed form, and the same answers whatever was asked before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fl_ef21.devices import words
from fl_ef21.devices.availability import Markov, Process, Slots, Stretches, parse
from fl_ef21.errors import InputError

WORDS = [
    "always", "bernoulli:0.7", "bernoulli:0.3/60", "day-night", "day-night:0.7", "markov:300/100", "windows:600/5100",
]  # fmt: skip
CLIENTS = np.arange(200)
HOUR = 3600.0


def process(told: Any, folder: Path = Path()) -> Process:
    return parse(told, "availability", folder)


def there(found: Process, times: np.ndarray, clients: np.ndarray = CLIENTS, seed: int = 5) -> np.ndarray:
    """(clients, times) who is there when."""
    return np.array([found.next_on(seed, clients, np.full(len(clients), t)) == t for t in times]).T


@pytest.mark.parametrize("word", WORDS)
def test_devices_are_there_for_the_share_of_the_time_that_it_says(word: str) -> None:
    found = process(word)
    seen = there(found, np.arange(24 * 4) * HOUR + 17)
    assert seen.mean() == pytest.approx(found.share, abs=0.03)


@pytest.mark.parametrize("word", WORDS)
def test_who_comes_back_is_there_then_and_was_away_until_then(word: str) -> None:
    found, times = process(word), np.linspace(0, 50 * HOUR, len(CLIENTS))
    back = found.next_on(1, CLIENTS, times)
    assert (back >= times).all() and np.array_equal(found.next_on(1, CLIENTS, back), back)
    middle = (times + back) / 2
    away = back - times > 1e-6
    assert np.allclose(found.next_on(1, CLIENTS[away], middle[away]), back[away], rtol=1e-12)


@pytest.mark.parametrize("word", WORDS)
def test_an_answer_depends_on_seed_client_and_time_alone(word: str) -> None:
    some, times = np.array([40, 3, 77]), np.array([9e4, 10.0, 4e4])
    asked = process(word)
    asked.next_on(2, CLIENTS, np.full(len(CLIENTS), 3e4))
    assert np.array_equal(asked.next_on(2, some, times), process(word).next_on(2, some, times))
    one = [float(process(word).next_on(2, some[[i]], times[[i]])[0]) for i in range(3)]
    assert asked.next_on(2, some, times).tolist() == one
    if asked.share < 1:
        assert not np.array_equal(there(asked, np.arange(9) * 1e4), there(asked, np.arange(9) * 1e4, seed=6))


def test_by_night_more_are_there_than_by_day_as_the_cosine_says() -> None:
    found = process({"process": "day-night", "share": 0.4, "depth": 0.75, "peak_hour": 3, "spread_hours": 0})
    hours = np.arange(0, 24, 3)
    seen = np.array([there(found, (np.arange(10) * 24 + hour) * HOUR).mean() for hour in hours])
    assert seen == pytest.approx(0.4 * (1 + 0.75 * np.cos(2 * np.pi * (hours - 3) / 24)), abs=0.05)


def test_peaks_lie_as_far_apart_as_they_may() -> None:
    found = process({"process": "day-night", "share": 0.4, "spread_hours": 12})
    assert isinstance(found, Slots)
    seen = np.array([there(found, (np.arange(10) * 24 + hour) * HOUR).mean() for hour in range(0, 24, 6)])
    assert seen == pytest.approx(np.full(4, 0.4), abs=0.06)
    near = Slots(0.4, 1800.0, 1.0, 6.0, spread_hours=2.0)
    at_peak = near.probability(near.peaks(0, CLIENTS), np.full((len(CLIENTS), 1), 6 * HOUR))
    assert 0.8 * (0.5 + 0.5 * np.cos(np.pi / 6)) <= at_peak.min() and at_peak.max() == pytest.approx(0.8, abs=1e-3)


def test_windows_are_always_as_long_and_as_far_apart() -> None:
    found = process("windows:10/30")
    first = found.next_on(0, CLIENTS, np.zeros(len(CLIENTS)))
    at = found.next_on(0, CLIENTS, np.full(len(CLIENTS), 1000.0)) - first
    turned = np.mod(at, 40)
    inside = (first == 0) | (at + first == 1000.0)
    assert np.isclose(np.minimum(turned, 40 - turned)[~inside], 0, atol=1e-9).all() and (~inside).sum() > 50
    assert 0.15 < (first == 0).mean() < 0.35


def test_markov_stretches_are_those_of_a_device_with_the_same_means() -> None:
    times = np.linspace(0, 9000, 50)
    alone = [Stretches(4, i, 30.0, 20.0).next_on(t) for i, t in enumerate(times.tolist())]
    assert Markov(30.0, 20.0).next_on(4, np.arange(50), times).tolist() == alone


def test_a_trace_deals_its_devices_to_clients(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("device,start_s,end_s\na,0,25\nb,50,75\n")
    found = process("trace:there.csv", tmp_path)
    assert found.share == pytest.approx(25 / 75)
    starts = found.next_on(0, CLIENTS, np.zeros(len(CLIENTS)))
    assert set(starts.tolist()) == {0.0, 50.0} and 60 < (starts == 0).sum() < 140
    longer = process({"process": "trace", "file": "there.csv", "period_seconds": 100}, tmp_path)
    assert longer.share == 0.25
    assert set(longer.next_on(0, CLIENTS, np.full(len(CLIENTS), 80.0)).tolist()) == {100.0, 150.0}


@pytest.mark.parametrize("word", WORDS)
def test_a_process_is_read_as_it_is_written(word: str) -> None:
    assert process(process(word).table()) == process(word)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("alway", "did you mean 'always'"),
        ("bernoulli", "needs share"),
        ("bernoulli:1.5", r"share = 1.5 must lie in \(0, 1\]"),
        ("bernoulli:0.5/0", "slot_seconds = 0.0 must be a number of seconds"),
        ("markov:300", "needs off_seconds"),
        ("markov:a/b", "must have numbers"),
        ("markov:1/2/3", "has 3 numbers and markov takes 2"),
        ("trace:", "needs a file"),
        ("trace:nowhere.csv", "cannot be read"),
        ({"process": "day-night", "share": 0.8, "depth": 0.9}, "depth = 0.9 must be at most 0.25"),
        ({"process": "day-night", "peak": 2}, "did you mean 'peak_hour'"),
        ({"process": "markov", "on_seconds": "x", "off_seconds": 1}, "on_seconds = 'x' must be"),
        ({"share": 0.5}, "process = None is not known"),
        (3, "must be a word or a table"),
    ],
)
def test_what_is_wrong_is_told(told: Any, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why) as caught:
        process(told, tmp_path)
    assert caught.value.field == "availability"


def test_a_word_of_a_scenario_is_checked_without_reading_anything() -> None:
    assert words.word("trace:later.csv") == "trace:later.csv"
    with pytest.raises(ValueError, match="share = 0"):
        words.word("bernoulli:0")
