"""Processes that `up` has started: known by id and time of start, since ids are used again."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from fl_ef21.errors import InputError
from scenarios.deploy import private

MARK = "FL_EF21_STARTED"  # in the environment of a process and of all it starts: whose they are
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """Attributes:
    role: "superlink" or "node-0".
    started: when, in the system's words; another process with this id has another.
    mark: in the environment of it and of its children.
    settings: what else was in its environment, so that it can be started again alike.
    """

    role: str
    pid: int
    started: str
    mark: str
    settings: dict[str, str]

    @classmethod
    def start(cls, role: str, home: Path, log: Path, env: Mapping[str, str], settings: Mapping[str, str]) -> Process:
        """The folder's start.sh as a process that outlives this one; its output is appended to `log`."""
        mark = secrets.token_hex(8)
        output = private.log(log)
        try:
            child = subprocess.Popen(
                [str(home / "start.sh")], cwd=home, env={**env, **settings, MARK: mark},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(output)
        return cls(role, child.pid, began(child.pid), mark, dict(settings))

    @property
    def alive(self) -> bool:
        return self.started != "" and began(self.pid) == self.started

    def offspring(self) -> list[int]:
        """Living processes that it started, by the mark; empty where the system does not show environments."""
        mark, found = f"{MARK}={self.mark}".encode(), []
        for entry in PROC.glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0") and began(int(entry.name)):
                    found.append(int(entry.name))
        return found


def began(pid: int) -> str:
    """When a living process was started, "" where there is none. A zombie is none, and is buried if it is ours."""
    with suppress(OSError):
        os.waitpid(pid, os.WNOHANG)
    if PROC.is_dir():
        try:
            told = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if told[0] in "ZX" else told[19]
    got = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, when = got.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else when.strip()


def load(path: Path) -> list[Process]:
    """What was noted. Raises: InputError where the file is damaged."""
    if not path.exists():
        return []
    try:
        return [Process(**one) for one in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise InputError("DIR", str(path), f"is damaged: {type(error).__name__} {error}") from error


def note(path: Path, processes: Iterable[Process]) -> None:
    """Noted before anything else is done, so that `down` finds it."""
    private.replace(path, json.dumps([asdict(one) for one in processes], indent=1) + "\n")


def end(processes: Sequence[Process], patience: float = 15.0) -> list[Process]:
    """Ends these processes and what they started, by force after `patience` seconds; those that were alive."""
    living = [one for one in processes if one.alive]
    for one in living:
        _tell(one.pid, signal.SIGTERM)
    _gone(lambda: [one.pid for one in living if one.alive], patience)
    for one in living:
        if one.alive:
            _tell(one.pid, signal.SIGKILL)

    def offspring() -> list[int]:
        return [pid for one in processes for pid in one.offspring()]

    for pid in _gone(offspring, min(5.0, patience)):  # most of them watch their parent
        _tell(pid, signal.SIGKILL)
    _gone(offspring, 5.0)
    return living


def _gone(left: Callable[[], list[int]], patience: float) -> list[int]:
    """Wait until nothing is left; what still is after `patience` seconds."""
    deadline = time.monotonic() + patience
    while (found := left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _tell(pid: int, way: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, way)
