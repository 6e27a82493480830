"""The run folder: what a run leaves behind, written as it happens."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, TextIO

from scenarios.folder import refuse_used
from scenarios.traffic_file import TrafficFile

PACKAGES = ("flwr", "ray", "torch", "numpy", "numba", "scikit-learn", "flwr-datasets", "pydantic", "plotly")


class Recorder:
    """Writes a run folder. Lines of rounds.jsonl are flushed one by one: a crash loses none of them."""

    def __init__(self, folder: Path, scenario: str, *, detail: bool = False) -> None:
        """`detail`: keep what every message cost. Raises: InputError where the folder already holds a run."""
        refuse_used(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "scenario.toml").write_text(scenario)
        (folder / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")
        self._rounds = (folder / "rounds.jsonl").open("w")
        self._shadow: TextIO | None = None
        self.traffic = TrafficFile(folder, detail)

    def row(self, row: dict[str, Any]) -> None:
        self._rounds.write(json.dumps(row, allow_nan=False) + "\n")
        self._rounds.flush()

    def shadow(self, row: dict[str, Any]) -> None:
        """A line of shadow.jsonl, which is there only where a scenario asks for it."""
        if self._shadow is None:
            self._shadow = (self.folder / "shadow.jsonl").open("w")
        self._shadow.write(json.dumps(row, allow_nan=False) + "\n")
        self._shadow.flush()

    def close(self, summary: dict[str, Any]) -> None:
        self._rounds.close()
        if self._shadow is not None:
            self._shadow.close()
        self.traffic.close()
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        scratch = self.folder / ".summary.json"
        scratch.write_text(text)
        scratch.replace(self.folder / "summary.json")


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
