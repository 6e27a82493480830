"""Tells trackers of a run, and goes on without those that fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scenarios.trackers.base import Run, Tracker


class Telling:
    """A `Tracker` of several that does not raise."""

    def __init__(self, trackers: Sequence[Tracker], warn: Callable[[str], None]) -> None:
        self._trackers, self._warn = list(trackers), warn

    def start(self, run: Run) -> None:
        self._all(lambda tracker: tracker.start(run))

    def row(self, method: str, row: Mapping[str, Any]) -> None:
        self._all(lambda tracker: tracker.row(method, dict(row)))

    def end(self, summary: Mapping[str, Any]) -> None:
        self._all(lambda tracker: tracker.end(summary))

    def _all(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                words = str(error).strip().split("\n")[0][:300] or "no reason given"
                self._warn(
                    f"the tracker {type(tracker).__name__} failed and is told no more; the run goes on: "
                    f"{type(error).__name__}: {words}"
                )
