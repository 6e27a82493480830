"""A run that is killed and resumed ends as one that was not: same rows, same digests, same tables."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.killing import KILLED, Killer
from tests.scenarios.lasting_runs import DOWNLINK, lasting, told
from tests.small import ALL_METHODS

PLACES = [
    "folder.put:kill:1",  # before the run has a name
    "journal.before_commit:kill:2", "journal.after_commit:kill:7", "files.write:kill:2", "files.rename:kill:3",
    "cut.before_rename:kill:2",
    "run.between_methods:kill:1", "run.before_summary:kill:1", "traffic.part:kill:2", "training.round:kill:9",
]  # fmt: skip


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as killer:
        yield killer


@pytest.fixture(scope="module")
def reference(killer: Killer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("reference") / "run"
    assert killer.run(lasting(), out) == 0
    return told(out)


@pytest.mark.parametrize("place", PLACES)
def test_killed_anywhere_it_goes_on_as_if_nothing_had_been(
    place: str, killer: Killer, reference: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert killer.run(lasting(), out, arm=place) == KILLED
    if place == "folder.put:kill:1":
        assert not (out / "run.json").exists()  # nothing had begun
        return
    assert killer.resume(out) == 0
    assert told(out) == reference


def test_a_chain_of_ten_crashes_ends_the_same(killer: Killer, reference: dict[str, Any], tmp_path: Path) -> None:
    """The hits are few enough that it crashes every time, and enough that it gets on."""
    out, places = tmp_path / "run", ["journal.after_commit:kill:2", "cut.after_rename:kill:1", "training.round:kill:2"]
    assert killer.run(lasting(), out, arm=places[0]) == KILLED
    for crash in range(1, 10):
        code = killer.resume(out, arm=places[crash % len(places)])
        assert code == KILLED, crash
    assert killer.resume(out) == 0
    assert told(out) == reference


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.nightly), pytest.param(3, marks=pytest.mark.nightly)]
)
def test_killed_here_and_there(seed: int, killer: Killer, reference: dict[str, Any], tmp_path: Path) -> None:
    """Anywhere, after any number of times; some starts get through."""
    draw, out, code = random.Random(seed), tmp_path / "run", KILLED
    assert killer.run(lasting(), out, arm=f"journal.after_commit:kill:{draw.randint(1, 6)}") == KILLED
    for _ in range(8):
        if code == KILLED:
            place = draw.choice(PLACES).rpartition(":")[0]
            code = killer.resume(out, arm=f"{place}:{draw.randint(1, 8)}")
    assert code == 0 or killer.resume(out) == 0
    assert told(out) == reference


@pytest.mark.nightly
def test_killed_from_outside_at_any_time(killer: Killer, reference: dict[str, Any], tmp_path: Path) -> None:
    draw, began = random.Random(5), time.monotonic()
    assert killer.run(lasting(), tmp_path / "timed") == 0
    whole, code, out, starts = time.monotonic() - began, KILLED, tmp_path / "run", 0
    while code == KILLED and starts < 30:
        starts += 1
        after = {"after": draw.uniform(0.05, 0.6) * whole} if starts < 20 else {}
        if (out / "run.json").exists():
            code = killer.resume(out, **after)
        else:  # it had not begun
            out = tmp_path / f"run{starts}"
            code = killer.run(lasting(), out, **after)
    assert code == 0 and told(out) == reference


def test_every_method_goes_on_and_so_does_one_with_a_downlink(killer: Killer, tmp_path: Path) -> None:
    every = lasting(method=[*ALL_METHODS, {**DOWNLINK, "label": "down"}], rounds=4, cuts={"every": 1}, shadow=[])
    assert killer.run(every, tmp_path / "a") == 0
    code = killer.run(every, tmp_path / "b", arm="journal.after_commit:kill:7")
    while code == KILLED:
        code = killer.resume(tmp_path / "b", arm="journal.after_commit:kill:8")
    assert code == 0 and told(tmp_path / "a") == told(tmp_path / "b")
