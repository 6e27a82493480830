"""Trackers are told what the run folder holds; one that fails ends nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21.errors import InputError
from scenarios.cli import app
from scenarios.progress import Progress, Silent
from scenarios.runner import resume
from scenarios.trackers import TRACKERS, Run, Tracker, named, numbers
from tests.small import ALL_METHODS, scenario

TWO = [ALL_METHODS[3], ALL_METHODS[4]]


class Notes:
    """Keeps what it is told; raises in one of its methods if it is told to."""

    def __init__(self, broken: str = "") -> None:
        self.broken, self.calls = broken, list[str]()
        self.runs, self.rows, self.ends = list[Run](), list[tuple[str, dict[str, Any]]](), list[Mapping[str, Any]]()

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.broken:
            raise OSError("the server is away")

    def start(self, run: Run) -> None:
        self._called("start")
        self.runs.append(run)

    def row(self, method: str, row: Mapping[str, Any]) -> None:
        self._called("row")
        self.rows.append((method, dict(row)))

    def end(self, summary: Mapping[str, Any]) -> None:
        self._called("end")
        self.ends.append(summary)


class Impatient(Silent):
    """Presses Ctrl-C in round 3."""

    def round(self, progress: Progress) -> None:
        if progress.round == 3:
            os.kill(os.getpid(), signal.SIGINT)


class Heard(Silent):
    """Keeps messages."""

    def __init__(self) -> None:
        self.said = list[str]()

    def message(self, text: str) -> None:
        self.said.append(text)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def test_a_tracker_hears_what_the_folder_holds(tmp_path: Path) -> None:
    notes: Tracker = Notes()
    result = scenarios.run(scenario(method=TWO), out=tmp_path / "run", trackers=[notes])
    assert isinstance(notes, Notes)
    assert [row for _, row in notes.rows] == lines(tmp_path / "run")
    assert all(method == row["method"] for method, row in notes.rows)
    assert notes.ends == [result.summary]
    (run,) = notes.runs
    assert run.methods == ("ef21-sgd", "ef21-sgdm") and not run.resumed and run.name == "small"
    settings = run.settings("ef21-sgdm")
    assert (settings["method.eta"], settings["train.batch_size"], settings["partition.clients"]) == (0.3, 2, 12)


@pytest.mark.parametrize("broken", ["start", "row", "end"])
def test_a_tracker_that_fails_is_told_of_once_and_ends_nothing(tmp_path: Path, broken: str) -> None:
    bad, good, heard = Notes(broken), Notes(), Heard()
    result = scenarios.run(scenario(), out=tmp_path / "run", trackers=[bad, good], listener=heard)
    assert result.summary["status"] == "finished" and len(good.rows) == len(lines(tmp_path / "run"))
    said = [text for text in heard.said if "tracker" in text]
    assert said == ["the tracker Notes failed and is told no more; the run goes on: OSError: the server is away"]
    assert bad.calls.count(broken) == 1 and bad.calls[-1] == broken


def test_who_goes_on_is_the_same_run(tmp_path: Path) -> None:
    first, second = Notes(), Notes()
    stopped = scenarios.run(scenario(), out=tmp_path / "run", trackers=[first], listener=Impatient())
    assert stopped.summary["status"] == "interrupted"
    resume(tmp_path / "run", trackers=[second])
    (before,), (after,) = first.runs, second.runs
    assert after.resumed and after.identity == before.identity and after.methods == before.methods
    rounds = {row["round"]: row for _, row in first.rows + second.rows if row["round"] % 2 == 0}
    assert [row["train_loss"] for row in lines(tmp_path / "run")] == [rounds[r]["train_loss"] for r in (0, 2, 4, 6)]


def test_numbers_are_the_finite_figures_without_the_round() -> None:
    row = {"method": "m", "round": 3, "train_loss": 0.5, "test_accuracy": None, "uplink_bytes": 7, "x": float("inf")}
    assert numbers(row) == {"train_loss": 0.5, "uplink_bytes": 7.0}


def test_mistakes_are_told_before_any_work() -> None:
    with pytest.raises(InputError, match="did you mean 'mlflow'"):
        named("mlflo:http://x")
    with pytest.raises(InputError, match="say where, such as tensorboard:curves"):
        named("tensorboard")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_told_before_any_work_with_its_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.trackers.naming.importlib.util.find_spec", lambda name: None)
    words = ["run", "quickstart", "--out", str(tmp_path / "run"), "--tracker", f"{name}:here"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4 and f"pip install 'fl-ef21[{name}]'" in done.output
    assert not (tmp_path / "run").exists()


def test_the_tracker_of_the_page_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "trackers.md").read_text()
    space: dict[str, Any] = {"__name__": "table"}
    exec(page.split("```python\n")[1].split("```")[0], space)
    scenarios.run(scenario(), out=tmp_path / "run", trackers=[space["Table"](str(tmp_path / "figures.csv"))])
    told = [line.split(",") for line in (tmp_path / "figures.csv").read_text().splitlines()]
    losses = [float(value) for method, _, name, value in told if (method, name) == ("ef21-sgdm", "train_loss")]
    assert losses == [row["train_loss"] for row in lines(tmp_path / "run")]
