"""Profiles are kept as they are, and what is wrong with one is told by its key."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fl_ef21.devices.profile import Device, load, save
from fl_ef21.errors import InputError

DEVICES = [
    Device("a", 0.1, 1e4, 2e4, "phone", 0.5, 0.03, 1.0, 600.0, 60.0, {"seconds": {"step": {"count": 3, "p50": 0.1}}}),
    Device("b", 0.25, math.inf, 1e6),
]
WHOLE = '[[device]]\nname = "a"\nstep_seconds = 1\nup_bytes_per_second = 10\ndown_bytes_per_second = 10\n'


def test_a_profile_loads_as_it_was_saved(tmp_path: Path) -> None:
    save(tmp_path / "two.toml", DEVICES)
    assert load(tmp_path / "two.toml") == DEVICES
    assert [path.name for path in tmp_path.iterdir()] == ["two.toml"]


def test_a_device_may_say_no_more_than_it_needs(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(WHOLE)
    assert load(tmp_path / "one.toml") == [Device("a", 1.0, 10.0, 10.0)]
    assert load(tmp_path / "one.toml")[0].share == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (WHOLE.replace("step_seconds = 1", "step_seconds = 0"), "device[0].step_seconds = 0: must be a number greater"),
        (WHOLE.replace("step_seconds = 1", "step_seconds = nan"), "step_seconds = nan: must be a number greater"),
        (WHOLE.replace("step_seconds = 1", "step_seconds = inf"), "step_seconds = inf: must be a number greater"),
        (WHOLE + "off_seconds = -1", "device[0].off_seconds = -1: must be a number of at least 0"),
        (WHOLE + "latency_second = 1", "did you mean 'latency_seconds'?"),
        (WHOLE.replace("up_bytes_per_second = 10\n", ""), "device[0].up_bytes_per_second = None: is missing"),
        (WHOLE.replace('"a"', "3"), "device[0].name = 3: must be a text"),
        ("version = 2\n" + WHOLE, "this program reads version 1"),
        ("devices = 2\n", "there is no such key"),
        ("", "must be one or more tables"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_mistake_is_told_by_its_key(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        load(tmp_path / "wrong.toml")
    assert told in str(caught.value) and "wrong.toml" in str(caught.value)
