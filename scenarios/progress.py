"""What a person sees while a run goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

from scenarios.units import seconds, short, size

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

EVERY = 5.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class Plan:
    """What will run; `done` methods and `after` rounds of the next one are there from an earlier start."""

    name: str
    methods: list[str]
    rounds: int
    clients: int
    done: int = 0
    after: int = 0


@dataclass(frozen=True)
class Progress:
    """How far it is. `seconds_left` counts all methods still to come; what nobody measured is None."""

    method: str
    method_number: int
    round: int
    train_loss: float | None
    grad_norm_sq: float | None
    test_accuracy: float | None
    uplink_bytes: int
    clients_per_second: float
    seconds_left: float
    virtual_seconds: float | None = None


class Listener(Protocol):
    """Is told what happens; must not raise."""

    def message(self, text: str) -> None: ...

    def start(self, plan: Plan) -> None: ...

    def round(self, progress: Progress) -> None: ...

    def end(self) -> None: ...


class Silent:
    """Says nothing."""

    def message(self, text: str) -> None:
        pass

    def start(self, plan: Plan) -> None:
        pass

    def round(self, progress: Progress) -> None:
        pass

    def end(self) -> None:
        pass


class PlainProgress(Silent):
    """A line now and then, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last, self._shown = stream, 0.0, -1

    def message(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def start(self, plan: Plan) -> None:
        self._plan = plan
        self.message(headline(plan))

    def round(self, progress: Progress) -> None:
        last = progress.round == self._plan.rounds
        if last or progress.method_number != self._shown or time.monotonic() - self._last >= EVERY:
            self._last, self._shown = time.monotonic(), progress.method_number
            at = f"round {progress.round}/{self._plan.rounds}"
            self.message(f"{progress.method}: {at}  {describe(progress)}")


class RichProgress(Silent):
    """A live bar for each method."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=stream)
        self._bar: Bars | None = None

    def message(self, text: str) -> None:
        self._console.print(f"{text} ...", style="dim", markup=False, highlight=False)

    def start(self, plan: Plan) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as Bars

        self._console.print(headline(plan), style="bold", markup=False, highlight=False)
        name = TextColumn("{task.description}", markup=False)
        told = TextColumn("{task.fields[told]}", markup=False)
        self._bar = Bars(name, BarColumn(bar_width=20), MofNCompleteColumn(), told, console=self._console)
        there = [plan.rounds] * plan.done + [plan.after] + [0] * len(plan.methods)
        self._tasks = [
            self._bar.add_task(name, total=plan.rounds, completed=there[i], told="done before" if i < plan.done else "")
            for i, name in enumerate(plan.methods)
        ]
        self._bar.start()

    def round(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.update(self._tasks[progress.method_number], completed=progress.round, told=describe(progress))

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def listener_for(stream: TextIO) -> Listener:
    """A live bar on a terminal, lines elsewhere."""
    return RichProgress(stream) if stream.isatty() else PlainProgress(stream)


def headline(plan: Plan) -> str:
    """What will run, in a line."""
    again = ""
    if plan.done == len(plan.methods):
        again = "; all methods are done"
    elif plan.done or plan.after:
        again = f"; resumed after round {plan.after} of {plan.methods[plan.done]}"
    return f"{plan.name}: {len(plan.methods)} methods, {plan.rounds} rounds, {plan.clients} clients{again}"


def describe(progress: Progress) -> str:
    """Loss, accuracy, bytes, speed and time left, in a few words."""
    accuracy = "" if progress.test_accuracy is None else f"  accuracy {progress.test_accuracy:.1%}"
    return (
        f"loss {short(progress.train_loss)}{accuracy}  sent {size(progress.uplink_bytes)}  "
        f"{progress.clients_per_second:,.0f} clients/s  {seconds(progress.seconds_left)} left"
    )
