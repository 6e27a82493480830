"""progress.json: how far a run is, for who follows it from another process. A finished run has none."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from scenarios.progress import Plan, Progress

NAME = "progress.json"


class Telling:
    """A Listener that prints messages, and keeps all it is told in a run folder, which must be there by its `start`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._plan: Plan | None = None
        self._round: Progress | None = None
        self._messages: list[str] = []

    def message(self, text: str) -> None:
        print(text, flush=True)  # to Flower's log of the run
        self._messages.append(text)
        self._write()

    def start(self, plan: Plan) -> None:
        self._plan = plan
        self._write()

    def round(self, progress: Progress) -> None:
        self._round = progress
        self._write()

    def end(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self._plan is None:
            return
        told = {"plan": asdict(self._plan), "round": self._round and asdict(self._round), "messages": self._messages}
        scratch = self._path.with_name(f".{NAME}")
        with suppress(OSError):  # a listener does not raise
            scratch.write_text(json.dumps(told))
            scratch.replace(self._path)


@dataclass(frozen=True)
class Told:
    """What a run has told. `round` is None before its first one ended."""

    plan: Plan
    round: Progress | None
    messages: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path) -> Told | None:
        """What is told in a run folder, if anything."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            told = json.loads((folder / NAME).read_text(encoding="utf-8"))
            round = None if told["round"] is None else Progress(**told["round"])
            return cls(Plan(**told["plan"]), round, tuple(told["messages"]))
        return None
