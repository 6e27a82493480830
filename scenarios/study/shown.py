"""What a person sees while a study goes on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, TextIO

from scenarios.units import seconds

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

EVERY = 10.0  # seconds between lines where there is no terminal


class Shown(Protocol):
    """Is told what happens; must not raise."""

    def message(self, text: str) -> None: ...

    def start(self, name: str, expected: int) -> None: ...

    def trials(self, done: int, paused: int, running: int, expected: int) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Says nothing."""

    def message(self, text: str) -> None:
        pass

    def start(self, name: str, expected: int) -> None:
        pass

    def trials(self, done: int, paused: int, running: int, expected: int) -> None:
        pass

    def end(self) -> None:
        pass


class Pace:
    """How long the rest may take, by what was done since the start."""

    def __init__(self) -> None:
        self._began, self._first = time.monotonic(), -1.0

    def left(self, done: float, expected: int) -> float | None:
        """Seconds; None before another trial is over. One that is paused is taken for half."""
        if self._first < 0:
            self._first = done
        new = done - self._first
        return (time.monotonic() - self._began) / new * (expected - done) if new else None


class Lines(Silent):
    """A line now and then, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last, self._pace = stream, 0.0, Pace()

    def message(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def start(self, name: str, expected: int) -> None:
        self.message(f"{name}: {expected} trials")

    def trials(self, done: int, paused: int, running: int, expected: int) -> None:
        told = describe(done, paused, running, expected, self._pace.left(done + 0.5 * paused, expected))
        if time.monotonic() - self._last >= EVERY or done == expected:
            self._last = time.monotonic()
            self.message(told)


class Bar(Silent):
    """One live bar."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console, self._pace = Console(file=stream), Pace()
        self._bar: Bars | None = None

    def message(self, text: str) -> None:
        self._console.print(f"{text} ...", style="dim", markup=False, highlight=False)

    def start(self, name: str, expected: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        told = TextColumn("{task.fields[told]}", markup=False)
        self._bar = Bars(TextColumn(name, markup=False), BarColumn(), MofNCompleteColumn(), told, console=self._console)
        self._task = self._bar.add_task(name, total=expected, told="")
        self._bar.start()

    def trials(self, done: int, paused: int, running: int, expected: int) -> None:
        if self._bar is not None:
            told = describe(done, paused, running, expected, self._pace.left(done + 0.5 * paused, expected))
            self._bar.update(self._task, completed=done, total=expected, told=told.partition("  ")[2])

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def shown_on(stream: TextIO) -> Shown:
    """A live bar on a terminal, lines elsewhere."""
    return Bar(stream) if stream.isatty() else Lines(stream)


def describe(done: int, paused: int, running: int, expected: int, left: float | None) -> str:
    """Such as `12/40 trials  3 at a rung  2 running  4 min left`."""
    words = [f"{done}/{expected} trials"]
    words += [f"{paused} at a rung"] if paused else []
    words += [f"{running} running"] if running else []
    words += [f"{seconds(left)} left"] if left is not None and running else []
    return "  ".join(words)
