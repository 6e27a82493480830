"""One trial in its run folder: begun, gone on with, or ended where it is told to pause."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fl_ef21.data import kept
from fl_ef21.errors import InputError
from fl_ef21.threads import computing_with
from scenarios import runner
from scenarios.interrupt import Interrupt
from scenarios.manner import Manner
from scenarios.progress import Progress, Silent
from scenarios.run_file import NAME as RUN_FILE
from scenarios.schema import Scenario
from scenarios.setup import Setup, again, prepare
from scenarios.study.plan import Trial
from scenarios.study.reached import been, over

LOOK = 0.5  # seconds between two looks whether the study is to stop
Ended = Literal["done", "paused"]


@dataclass(frozen=True)
class Job:
    """A trial as far as `until` of `axis`, or to its end where that is None."""

    trial: Trial
    axis: str = "round"
    until: float | None = None


@dataclass
class Cache:
    """The samples and the problem of the last trial, for the next one over the same."""

    problem: str = ""
    setup: Setup | None = field(default=None, repr=False)

    def prepare(self, trial: Trial, scenario: Scenario) -> Setup:
        """As `setup.prepare`."""
        if self.setup is not None and self.problem == trial.problem:
            return again(self.setup, scenario)
        self.setup = None  # before the next one takes memory
        self.setup, self.problem = prepare(scenario), trial.problem
        return self.setup


class Watch(Silent):
    """Interrupts a run where its job ends, or when the file `stop` is there."""

    def __init__(self, job: Job, stop: Path) -> None:
        self.interrupt = Interrupt()
        self._job, self._stop, self._looked = job, stop, 0.0

    def round(self, progress: Progress) -> None:
        until = self._job.until
        at = getattr(progress, self._job.axis)
        if until is not None and at is not None and at >= until:
            self.interrupt.asked = True
        elif time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            self.interrupt.asked = self.interrupt.asked or self._stop.exists()


def do(job: Job, folder: Path, stop: Path, cache: Cache) -> Ended:
    """Bring the trial in `folder` to where its job ends, whatever state it is in; earlier where `stop` appears.

    Raises: runner.RunFailed where nothing says how it ended; a run that failed and says why is over.
    """
    if there(job, folder):
        return "done"
    watch, scenario = Watch(job, stop), job.trial.scenario

    def prepared(resolved: Scenario, *, alone: bool) -> Setup:
        return cache.prepare(job.trial, resolved)

    manner = Manner(prepared, watch.interrupt, page=False)
    with computing_with(1), kept():
        try:
            if not _gone_on(folder, watch, manner):
                shutil.rmtree(folder, ignore_errors=True)
                runner.run(scenario, out=folder, listener=watch, manner=manner)
        except runner.DiskFull:
            raise
        except runner.RunFailed:
            if not over(folder):
                raise
    if there(job, folder):
        return "done"
    if not watch.interrupt.asked:
        raise runner.RunFailed(f"trial {job.trial.id} ended before its end; its folder is {folder}")
    return "paused"


def there(job: Job, folder: Path) -> bool:
    """Whether a job has nothing left to do."""
    return over(folder) if job.until is None else been(folder, job.axis, job.until)


def _gone_on(folder: Path, watch: Watch, manner: Manner) -> bool:
    """False where nothing was kept to go on from, so that the trial begins anew and comes to the same."""
    if not (folder / RUN_FILE).exists():
        return False
    try:
        runner.resume(folder, listener=watch, manner=manner)
    except InputError:
        return False
    return True
