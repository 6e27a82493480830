"""Measurements of a device at work: what its SuperNode exchanges with the SuperLink, and what its ClientApp takes.

A message is fetched in one go of exchanges, worked on, and answered in another. Each go is a transfer, a question that
found nothing a ping; what lies between the two goes and is not the ClientApp's is overhead. Where nothing was
exchanged for `GAP` seconds the device was away: a SuperNode says that it lives every 30 s.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from fl_ef21.devices.fit import fit
from fl_ef21.devices.measurements import Row
from fl_ef21.devices.profile import Device
from fl_ef21.errors import InputError
from fl_ef21.flower_traffic import WORKERS

GAP = 90.0


def elapsed() -> float:
    """Seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True)
class _Exchange:
    path: str
    up: int
    down: int
    begins: float
    ends: float


class Recorder:
    """Takes what `fl-ef21 node` tells of itself, from any thread, and makes rows of it."""

    def __init__(self, name: str, local_steps: int = 1, clock: Callable[[], float] = elapsed) -> None:
        """local_steps: gradient steps that a training message asks for."""
        self.name, self._steps, self._clock = name, local_steps, clock
        self._lock = threading.Lock()
        self._rows = list[Row]()
        self._question: _Exchange | None = None  # for work; what it found shows in what comes next
        self._going = list[_Exchange]()  # exchanges of a message's fetching, or of its reply's
        self._fetched: float | None = None
        self._between: float | None = None  # seconds from the end of one go to the begin of the other
        self._task: float | None = None
        self._since, self._on = 0.0, list[float]()  # the stretch that goes on, and those that are over
        self._last: float | None = None

    # What the node tells --------------------------------------------------------------------------

    def exchange(self, path: str, up: int, down: int, seconds: float) -> None:
        """An exchange with the SuperLink has just ended."""
        with self._lock:
            now = self._clock()
            one = _Exchange(path.partition("?")[0].rpartition("/")[2], up, down, now - seconds, now)
            self._presence(one)
            self._follow(one)

    def task(self, kind: str, seconds: float) -> None:
        """The ClientApp has answered a message of this type."""
        if kind.partition(".")[0] == "train":
            with self._lock:
                self._task = seconds
                self._pair()

    def _presence(self, one: _Exchange) -> None:
        if self._last is None:
            self._since = one.begins
        elif one.begins - self._last > GAP:
            self._add("off", one.begins - self._last)
            self._on.append(self._last - self._since)
            self._since = one.begins
        self._last = one.ends

    def _follow(self, one: _Exchange) -> None:
        match one.path:
            case "pull-messages":
                self._close()
                if self._question is not None:  # it found nothing
                    self._transfer([self._question], "ping", 1)
                    self._add("poll", one.begins - self._question.ends)
                self._question = one
            case "pull-object" | "confirm-message-received":
                self._going += [one] if self._question is None else [self._question, one]
                self._question = None
                if one.path.startswith("confirm"):
                    self._close()
                    self._fetched, self._task = one.ends, None
            case "push-messages":
                self._going = [one]
                self._between = None if self._fetched is None else one.begins - self._fetched
                self._fetched = None
                self._pair()
            case "push-object":
                self._going += [one] if self._going else []
            case "send-node-heartbeat":
                pass
            case _:  # an app on its way, say: no part of every message
                self._question, self._going = None, []

    # Rows -----------------------------------------------------------------------------------------

    def _close(self) -> None:
        """A go has ended."""
        going, self._going = self._going, []
        objects = sum(one.path.endswith("-object") for one in going)
        if objects:
            kind = "down" if any(one.path == "pull-object" for one in going) else "up"
            self._transfer(going, kind, len(going) - objects + ceil(objects / WORKERS))

    def _transfer(self, going: list[_Exchange], kind: str, trips: int) -> None:
        seconds = max(one.ends for one in going) - min(one.begins for one in going)
        up, down = sum(one.up for one in going), sum(one.down for one in going)
        self._rows.append(Row(self.name, kind, seconds, up, down, trips))

    def _pair(self) -> None:
        """Once both are known: what the ClientApp took, and what the rest.

        Flower's ClientApp may be started before the message is there, and waits for it.
        """
        if self._task is not None and self._between is not None:
            own = max(0.0, min(self._task, self._between))
            self._add("step", own / self._steps)
            self._add("overhead", max(0.0, self._between - own))
            self._task = self._between = None

    def _add(self, kind: str, seconds: float) -> None:
        self._rows.append(Row(self.name, kind, seconds))

    def rows(self) -> list[Row]:
        """What was measured so far."""
        with self._lock:
            rows, on = list(self._rows), list(self._on)
            if on and self._last is not None:
                on[-1] += self._last - self._since  # not over yet: time on over times off is its mean
            return rows + [Row(self.name, "on", seconds) for seconds in on]

    def device(self, kind: str) -> Device | None:
        """What the device is; None while too little was measured."""
        try:
            return fit(self.name, self.rows(), kind)
        except InputError:
            return None
