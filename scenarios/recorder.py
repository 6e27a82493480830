"""The run folder: what a run leaves behind, written as it happens."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from fl_ef21.failpoints import failpoint
from scenarios.fairness_file import FairnessFile
from scenarios.folder import put, refuse_used
from scenarios.tally import Row
from scenarios.timeline_file import TimelineFile
from scenarios.traffic_file import TrafficFile

ROUNDS, SHADOW = "rounds.jsonl", "shadow.jsonl"

PACKAGES = ("flwr", "ray", "torch", "numpy", "numba", "scikit-learn", "flwr-datasets", "pydantic", "plotly")


@dataclass(frozen=True)
class Past:
    """What an earlier start leaves to the next: rows that stay, in their order."""

    rows: list[Row]
    shadows: list[Row]


class Recorder:
    """Writes a run folder. Lines of rounds.jsonl are flushed one by one: a killed process loses none of them, and
    what `settle` has seen outlasts a power cut.

    Attributes: traffic, timeline, fairness: tables of clients.
    """

    def __init__(
        self, folder: Path, scenario: str, traffic: TrafficFile, timeline: TimelineFile, past: Past | None = None
    ) -> None:
        """`past`: what stays of an earlier start; without it the folder must hold no run yet.

        Raises: InputError where it does.
        """
        if past is None:
            refuse_used(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.traffic, self.timeline = folder, traffic, timeline
        self.fairness = FairnessFile(folder)
        (folder / "scenario.toml").write_text(scenario)
        if past is None:
            (folder / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
        else:
            for stale in ("summary.json", "report.html"):
                (folder / stale).unlink(missing_ok=True)
        self._shadow: TextIO | None = None
        self._rounds = (folder / ROUNDS).open("w" if past is None else "a")
        if past is not None:
            self._cut_back(past)

    def _cut_back(self, past: Past) -> None:
        self._rounds.close()
        for name, rows in ((ROUNDS, past.rows), (SHADOW, past.shadows)):
            if rows or name == ROUNDS or (self.folder / name).exists():
                put(self.folder / name, "".join(_line(row) for row in rows))
        self._rounds = (self.folder / ROUNDS).open("a")

    def row(self, row: Row) -> None:
        self._rounds.write(_line(row))
        self._rounds.flush()

    def shadow(self, row: Row) -> None:
        """A line of shadow.jsonl, which is there only where a scenario asks for it."""
        if self._shadow is None:
            self._shadow = (self.folder / SHADOW).open("a")
        self._shadow.write(_line(row))
        self._shadow.flush()

    def settle(self) -> None:
        """All that was written is on the disk."""
        for file in (self._rounds, self._shadow):
            if file is not None:
                os.fsync(file.fileno())
        self.traffic.settle()
        self.timeline.settle()

    def drop(self) -> None:
        """The run stops here and now."""
        for file in (self._rounds, self._shadow):
            if file is not None:
                file.close()

    def close(self, summary: dict[str, Any]) -> None:
        self.drop()
        self.traffic.close()
        self.timeline.close()
        self.fairness.close()
        failpoint("run.before_summary")
        put(self.folder / "summary.json", json.dumps(summary, indent=2, allow_nan=False) + "\n")
        if summary["status"] == "finished":
            self.traffic.clear()
            self.timeline.clear()
            self.fairness.clear()


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def read_lines(path: Path) -> list[Row]:
    """The whole lines of a file of the run; one that was cut ends it. Empty where there is no file."""
    found = list[Row]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def environment() -> dict[str, Any]:
    """Versions and machine, flat."""
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    found["cpus"] = os.cpu_count()
    found["commit"] = _git("rev-parse", "HEAD")
    found["uncommitted_changes"] = bool(_git("status", "--porcelain"))
    return found


def _git(*words: str) -> str | None:
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
