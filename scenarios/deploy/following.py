"""Follows a run by its folder, in which the ServerApp on this machine writes."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fl_ef21.errors import InputError
from scenarios.deploy import flower
from scenarios.deploy.fleet import speaks
from scenarios.deploy.flower import FlowerSaid
from scenarios.deploy.layout import Fleet
from scenarios.deploy.processes import began
from scenarios.ended import Failure
from scenarios.progress import Listener
from scenarios.run_file import NAME as RUN_FILE
from scenarios.told import Told

LOOK = 0.2  # seconds between two looks at the folder
ASK = 15.0  # seconds between two questions to the SuperLink, each of which loads Flower once
SILENT = 10.0  # seconds without an answer until a SuperLink is taken for dead
FAILED, STOPPED = 5, 7  # scenarios.commands.failures.Code


class RunEnded(RuntimeError):
    """A run on a fleet ended otherwise than by finishing. `code` is the exit code that `fl-ef21 run` would have."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Following:
    """One submission of a run.

    Attributes:
      round: rounds of all its methods that are done, as far as it told.
    """

    def __init__(self, fleet: Fleet, out: Path, listener: Listener) -> None:
        self._fleet, self._out, self._listener = fleet, out, listener
        self._starts = len(_starts(out))
        self._summary = _changed(out / "summary.json")
        self._told: Told | None = None
        self._said = 0
        self._process: tuple[int, str] | None = None
        self._heard = self._looked = self._asked = time.monotonic()
        self.round = 0

    def until_the_end(self, run: str) -> Failure | None:
        """None where it finished. The first Ctrl-C stops the run after its round, the second at once."""
        stopping = False
        try:
            while True:
                try:
                    self._show()
                    if (ended := self._ended(run)) is not None:
                        return ended[0]
                    time.sleep(LOOK)
                except KeyboardInterrupt:
                    if stopping or not self._interrupt():
                        stop(self._fleet, run)
                        raise RunEnded(STOPPED, f"stopped by you; {self.again}") from None
                    stopping = True
                    self._listener.message("stopping after this round; Ctrl-C again stops at once")
        finally:
            self._listener.end()

    def bury(self, patience: float = 5.0) -> None:
        """End the ServerApp of a lost run, where it goes on asking for a SuperLink that does not know it any more."""
        for way in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + patience
            while self._serverapp() and time.monotonic() < deadline:
                time.sleep(LOOK)
            if self._serverapp() and self._process is not None:
                os.kill(self._process[0], way)
        while self._serverapp():
            time.sleep(LOOK)

    def _show(self) -> None:
        told = Told.of(self._out)
        if told is None or told == self._told:
            return
        for text in told.messages[self._said :]:
            self._listener.message(text)
        self._said = len(told.messages)
        if self._told is None:
            self._listener.start(told.plan)
        if told.round is not None and (self._told is None or told.round != self._told.round):
            self.round = told.round.method_number * told.plan.rounds + told.round.round
            self._listener.round(told.round)
        self._told = told

    def _ended(self, run: str) -> tuple[Failure | None] | None:
        """None while it goes on."""
        alive = self._serverapp()
        if (failure := Failure.of(self._out)) is not None:
            lost = failure.lost or (failure.code == FAILED and not self._speaks())
            return (replace(failure, lost=lost),)
        if alive:
            return (Failure(FAILED, "the SuperLink died", lost=True),) if self._deserted() else None
        if self._summary != _changed(self._out / "summary.json") and _status(self._out) == "finished":
            return (None,)
        if alive is False:
            return (Failure.of(self._out) or Failure(FAILED, "the ServerApp died", lost=True),)
        return self._unseen(run)

    def _serverapp(self) -> bool | None:
        """Whether the run's process lives; None where it has not begun yet."""
        if self._process is None and len(starts := _starts(self._out)) > self._starts:
            pid = int(starts[-1]["pid"])
            self._process = (pid, began(pid))
        if self._process is None:
            return None
        pid, then = self._process
        return then != "" and began(pid) == then

    def _deserted(self) -> bool:
        """Whether the SuperLink has not answered for long; looked at every second."""
        now = time.monotonic()
        if now - self._looked >= 1.0:
            self._looked = now
            if self._speaks():
                self._heard = time.monotonic()
        return time.monotonic() - self._heard > SILENT

    def _speaks(self) -> bool:
        with suppress(InputError):  # something else listens there by now
            return speaks(self._fleet)
        return False

    def _unseen(self, run: str) -> tuple[Failure] | None:
        """How a run is that has not begun: nothing of it is in the folder."""
        if self._deserted():
            return (Failure(FAILED, "the SuperLink died", lost=True),)
        now = time.monotonic()
        if now - self._asked < ASK:
            return None
        self._asked = now
        with suppress(FlowerSaid):
            (told,) = flower.flwr(self._fleet, "list", self._fleet.name, "--run-id", run)["runs"]
            if told["status"].startswith("finished") and Failure.of(self._out) is None:
                stopped = told["status"].endswith("stopped")
                why = told["status-details"] or told["status"]
                return (Failure(STOPPED if stopped else FAILED, f"the run did not begin: {why}", lost=False),)
        return None

    def _interrupt(self) -> bool:
        """Ask the ServerApp to stop after its round; whether it could be asked."""
        if not self._serverapp() or self._process is None:
            return False
        os.kill(self._process[0], signal.SIGINT)
        return True

    @property
    def again(self) -> str:
        """How to go on with the run."""
        return f"go on with: fl-ef21 deploy run {self._fleet.folder} {self._out} --out {self._out}"


def stop(fleet: Fleet, run: str) -> None:
    """Have the SuperLink forget a run, if it knows it."""
    with suppress(FlowerSaid):
        flower.flwr(fleet, "stop", run, fleet.name)


def _starts(out: Path) -> list[dict[str, str]]:
    with suppress(OSError, ValueError, KeyError):
        return list(json.loads((out / RUN_FILE).read_text(encoding="utf-8"))["starts"])
    return []


def _changed(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _status(out: Path) -> str:
    with suppress(OSError, ValueError):
        return str(json.loads((out / "summary.json").read_text(encoding="utf-8"))["status"])
    return ""
