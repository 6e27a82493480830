"""The report's section on devices, and its table of who is on the Pareto front."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scenarios import devices_section, pareto
from scenarios.pareto import dominators, point
from scenarios.report import write
from scenarios.results import Result
from scenarios.sections import Entry
from tests.scenarios.run_folder import DENSE, make, rows
from tests.scenarios.test_report import report
from tests.scenarios.timeline_folder import timed


def entries(folder: Path) -> list[Entry]:
    result = Result.load(folder)
    return [Entry.of(result, i) for i in range(len(result.summary["methods"]))]


def test_the_page_shows_every_figure_on_devices(tmp_path: Path) -> None:
    page = report(timed(tmp_path))
    for mark in ("data-map", "data-gantt", "data-energy", "data-staleness", "data-pareto", "data-goal"):
        assert f'{mark}="' in page.source, mark
    # 12 clients, 30 rounds: a class of six is asked 180 times, and its two slowest (8, or 9) are always late
    assert "ef21-sgdm phone 6 180" in page.text and "450 J" in page.text
    assert [m["energy"]["phone"]["radio"] for m in page.data["methods"]] == pytest.approx([72.0, 72.0])
    assert page.data["methods"][1]["staleness"] == [[0, 60], [1, 30], [2, 10]]
    assert len(page.data["timelines"]) == 2 and page.data["fates"][0]["name"] == "used"


def test_a_run_without_devices_has_no_such_section(tmp_path: Path) -> None:
    page = report(make(tmp_path))
    assert "devices" not in page.ids and page.data["timelines"] == [None, None, None]
    assert all(m["energy"] is None and m["staleness"] is None for m in page.data["methods"])


def test_the_page_says_which_rounds_it_has_and_where_all_are(tmp_path: Path) -> None:
    text = report(timed(tmp_path, ["a"], clients=60, rounds=200)).text
    assert "This page has spans of 48 of 60 clients in rounds 1 to 25," in text and "fl-ef21 trace DIR" in text
    small = report(timed(tmp_path / "small")).text
    assert "fl-ef21 trace DIR" not in small
    assert "The timeline has 12 of the run's 100 clients." in small  # others were never asked, or left out


@pytest.mark.parametrize(
    "told, found",
    [
        ({"0": 3, "2": 1}, [(0, 3), (2, 1)]),
        ([5, 0, 1], [(0, 5), (1, 0), (2, 1)]),
        ({"0": 9}, None),
        (None, None),
    ],
)
def test_staleness_is_shown_where_some_reply_was_stale(tmp_path: Path, told: Any, found: Any) -> None:
    summary = {} if told is None else {"staleness": {"histogram": told}}
    [entry] = entries(make(tmp_path, [(rows("a", [1.0]), summary)]))
    assert devices_section.staleness(entry) == found


@pytest.mark.parametrize("joules", [None, {}, {"compute": 0, "radio": 0.0, "idle": 0}])
def test_without_power_there_is_no_energy(tmp_path: Path, joules: Any) -> None:
    [entry] = entries(make(tmp_path, [(rows("a", [1.0]), {"devices": {"plug": {"used": 3, "joules": joules}}})]))
    assert devices_section.energy(entry) is None
    assert "data-energy" not in devices_section.section_body([entry], [None])


# ---------------------------------------------------------------- Pareto


def test_a_point_is_the_median_of_the_last_evaluations_and_the_last_cost(tmp_path: Path) -> None:
    lines = rows("a", [9.0, 5.0, 1.0, 2.0, 3.0, 100.0], saving=4)
    [entry] = entries(make(tmp_path, [(lines, {})]))
    found = point(entry)
    assert (found["train_loss"], found["uplink_bytes"], found["virtual_seconds"]) == (3.0, 50 * DENSE / 4, None)
    assert found["test_accuracy"] == 0.53


def test_who_is_beaten_is_told_and_by_whom() -> None:
    def at(accuracy: float | None, cost: float, time: float) -> dict[str, float | None]:
        return {"test_accuracy": accuracy, "uplink_bytes": cost, "virtual_seconds": time}

    axes = ["test_accuracy", "uplink_bytes", "virtual_seconds"]
    points = [at(0.9, 10, 10), at(0.8, 5, 10), at(0.8, 6, 10), at(0.8, 6, 9), at(None, 1, 1), at(0.9, 10, 10)]
    # the third is beaten by the second in bytes; the fourth is quicker than all; equals do not beat each other
    assert dominators(points, axes) == [None, None, 1, None, 4, None]
    assert dominators(points, axes[:2]) == [None, None, 1, 1, 4, None]


def test_what_is_best_on_one_axis_is_always_on_the_front() -> None:
    points = [{"train_loss": float(i % 7), "uplink_bytes": float(i * 37 % 11)} for i in range(30)]
    over = dominators(points, ["train_loss", "uplink_bytes"])
    front = [p for p, j in zip(points, over, strict=True) if j is None]
    assert min(p["train_loss"] for p in points) in {p["train_loss"] for p in front}
    assert min(p["uplink_bytes"] for p in points) in {p["uplink_bytes"] for p in front}
    for p, j in zip(points, over, strict=True):
        assert j is None or (
            points[j]["train_loss"] <= p["train_loss"] and points[j]["uplink_bytes"] <= p["uplink_bytes"]
        )


def test_one_method_alone_or_only_wild_ones_have_no_front(tmp_path: Path) -> None:
    wild = (rows("wild", [2.0, 900.0]), {"status": "diverged"})
    assert pareto.section_body(entries(make(tmp_path, [(rows("a", [2.0, 1.0]), {}), wild]))) == ""


def test_the_front_is_told_in_words(tmp_path: Path) -> None:
    text = report(timed(tmp_path)).text
    assert "The front in test accuracy, uplink bytes, virtual time together" in text
    assert "no: ef21-sgdm is no worse anywhere" in text


@pytest.mark.nightly
def test_a_page_of_many_methods_clients_and_rounds_is_under_six_megabytes(tmp_path: Path) -> None:
    folder = timed(tmp_path / "run", [f"method {i}" for i in range(12)], clients=1500, rounds=1000, share=7)
    lines = (folder / "rounds.jsonl").read_text().splitlines()
    every = [json.dumps(json.loads(line) | {"round": 10 * r + k}) for r, line in enumerate(lines) for k in range(10)]
    (folder / "rounds.jsonl").write_text("".join(line + "\n" for line in every))  # each of the rounds is evaluated
    classes, held = [str(c) for c in range(64)], [[(7 * i + c) % 90 for c in range(64)] for i in range(1500)]
    summary = json.loads((folder / "summary.json").read_text())
    summary["partition"] = {"scheme": "dirichlet", "classes": classes, "label_counts": held}
    (folder / "summary.json").write_text(json.dumps(summary))
    assert write(folder).stat().st_size < 6e6
