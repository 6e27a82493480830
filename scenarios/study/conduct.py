"""A study from its first trial to its tables, or from wherever it was left."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError
from fl_ef21.provenance import sources
from scenarios.folder import alone, put
from scenarios.interrupt import Interrupt
from scenarios.others import others
from scenarios.recorder import environment
from scenarios.runner import Stopped
from scenarios.study import checking, pool, results, search
from scenarios.study.lines import Line, Race
from scenarios.study.plan import Plan, plan
from scenarios.study.reading import Source, parse
from scenarios.study.shown import Shown, Silent
from scenarios.study.trial import Job, there

FILE, NOTE, TRIALS, STOP = "study.toml", "study.json", "trials", ".stop"


def run(source: Source, out: Path, *, parallel: int | None = None, shown: Shown | None = None) -> results.Results:
    """Every trial of a study, then its tables and its page, in a new folder.

    parallel: trials side by side, else as the study says, else one a core; 0 computes in this process.
    Raises: ScenarioError and InputError for what cannot work, before the first trial; Stopped at Ctrl-C; RunFailed.
    """
    refuse_used(out)
    shown = shown or Silent()
    made = plan(source)
    search.check(made)
    shown.message("loading data and checking every combination")
    made = checking.settled(made)
    out.mkdir(parents=True, exist_ok=True)
    with alone(out):
        put(out / FILE, _text(source))
        note = {"settled": made.settled, "sources": _sources(made), "environment": environment()}
        put(out / NOTE, json.dumps(note, indent=1) + "\n")
        return _conduct(made, out, parallel, shown)


def resume(
    out: Path, *, parallel: int | None = None, force: bool = False, shown: Shown | None = None
) -> results.Results:
    """Go on with a study that was stopped or killed; it comes to the same table as if nothing had been.

    force: also with other code. Raises: InputError where there is no study, or the code has changed; Stopped;
    RunFailed.
    """
    note = _note(out)
    source = parse(_read(out / FILE), str(out / FILE), out)
    with alone(out):
        made = plan(source)
        changed = sorted(name for name, digest in _sources(made).items() if note["sources"].get(name) != digest)
        if changed and not force and not _over(out):
            told = f"{len(changed)} files have changed since the study began, such as {changed[0]}"
            raise InputError("DIR", str(out), f"{told}; go back to that code, or --force goes on with this")
        return _conduct(replace(made, settled=note["settled"]), out, parallel, shown or Silent())


def _sources(made: Plan) -> dict[str, str]:
    """Digests of our files and of those that the trials take from other packages."""
    return sources({kind for arm in made.arms for kind in others(arm.scenario)})


def refuse_used(out: Path) -> None:
    """Raises: InputError where `out` is a file or holds a study or a run."""
    if out.exists() and not out.is_dir():
        raise InputError("out", str(out), "is a file; name a new folder")
    if (out / FILE).exists() or (out / "scenario.toml").exists():
        advice = f"already holds a study or a run; name a new folder, or go on with it: fl-ef21 study {out}"
        raise InputError("out", str(out), advice)


def _conduct(made: Plan, out: Path, parallel: int | None, shown: Shown) -> results.Results:
    study = made.source.study
    race = Race(made, out / TRIALS)
    wanted = next(n for n in (parallel, study.machine.parallel, os.cpu_count() or 1) if n is not None)
    (out / TRIALS).mkdir(exist_ok=True)
    (out / STOP).unlink(missing_ok=True)
    interrupt, began = Interrupt(), time.perf_counter()
    try:
        with interrupt:
            Conduct(race, out, shown, interrupt).work(wanted)
    finally:
        shown.end()
        (out / STOP).unlink(missing_ok=True)
    if interrupt.asked:
        raise Stopped(f"stopped by you; go on with: fl-ef21 study {out}")
    found = results.collect(race, out / TRIALS)
    found.save(out, time.perf_counter() - began)
    return found


class Conduct:
    """The jobs of all lines, side by side."""

    def __init__(self, race: Race, out: Path, shown: Shown, interrupt: Interrupt) -> None:
        self._race, self._out, self._shown, self._interrupt = race, out, shown, interrupt
        self._lines: list[Line] = race.lines()
        self._asked: dict[int, list[Job]] = {number: [] for number in range(len(self._lines))}  # of lines not over
        self._queue: deque[Job] = deque()
        self._running: dict[str, Job] = {}
        self._done, self._paused = set[str](), set[str]()

    def work(self, parallel: int) -> None:
        """Until every line is over, or somebody interrupts. Raises: RunFailed."""
        self._shown.start(self._race.plan.source.study.name, self._race.expected())
        for number in range(len(self._lines)):
            self._advance(number)
        if not self._queue:
            return
        study = self._race.plan.source.study
        with pool.opened(self._out / TRIALS, self._out / STOP, parallel, study.machine.gpus_per_trial) as workers:
            while self._queue or self._running:
                while workers.room and self._queue and not self._interrupt.asked:
                    self._begin(workers)
                if not self._running:
                    return
                for job, ended in workers.wait(0.5):
                    self._interrupt.asked |= ended == "paused"  # of this process, its run took the signal
                    self._end(job)
                if self._interrupt.asked:
                    (self._out / STOP).touch()
                    self._queue.clear()

    def _begin(self, workers: pool.Pool) -> None:
        """The next job: over samples that an idle worker has in memory, else over such that nobody is busy with."""
        held, busy = workers.held, {job.trial.problem for job in self._running.values()}
        first = min(self._queue, key=lambda job: (job.trial.problem not in held, job.trial.problem in busy))
        self._queue.remove(first)
        self._running[first.trial.id] = first
        workers.submit(first)

    def _end(self, job: Job) -> None:
        trial = job.trial.id
        del self._running[trial]
        if not there(job, self._out / TRIALS / trial):
            return
        for number, jobs in list(self._asked.items()):
            if any(other.trial.id == trial for other in jobs):
                self._advance(number)
        self._tell()

    def _advance(self, number: int) -> None:
        """Let a line say what it wants next, until something of it has to be run."""
        while number in self._asked:
            jobs = self._asked[number]
            missing = [job for job in jobs if not there(job, self._out / TRIALS / job.trial.id)]
            there_now = [job for job in jobs if job not in missing]
            self._done |= {job.trial.id for job in there_now if job.until is None}
            self._paused |= {job.trial.id for job in there_now if job.until is not None}
            if missing:
                busy = {job.trial.id for job in self._queue} | set(self._running)
                self._queue.extend(job for job in missing if job.trial.id not in busy)
                return
            try:
                self._asked[number] = next(self._lines[number])
            except StopIteration:
                del self._asked[number]

    def _tell(self) -> None:
        paused = len(self._paused - self._done)
        self._shown.trials(len(self._done), paused, len(self._running), self._race.expected())


def _text(source: Source) -> str:
    """The study with its scenario inside, so that the folder needs no other file but data."""
    import tomllib

    import tomlkit

    table: dict[str, Any] = source.study.model_dump(exclude_none=True, exclude={"base", "scenario"})
    for empty in [key for key, value in table.items() if value == {}]:
        del table[empty]
    return tomlkit.dumps(table | {"scenario": tomllib.loads(source.base)})


def _note(out: Path) -> dict[str, Any]:
    if not (out / FILE).is_file() or not (out / NOTE).is_file():
        what = "is not there" if not out.exists() else f"holds no study that can be resumed: it has no {NOTE}"
        raise InputError("DIR", str(out), what)
    try:
        told: dict[str, Any] = json.loads(_read(out / NOTE))
    except ValueError as error:
        raise InputError("DIR", str(out / NOTE), f"is damaged: {error}") from error
    return told


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _over(out: Path) -> bool:
    return (out / results.SUMMARY).is_file()
