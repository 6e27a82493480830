"""Jobs side by side: in Ray actors, each with a processor and a share of a GPU, or one by one in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fl_ef21.engine import cluster
from fl_ef21.engine.settings import Settings
from scenarios.runner import RunFailed
from scenarios.study.trial import Cache, Ended, Job, do

DEATHS = 3  # in a row of the workers of one job, after which the study ends as failed


class Pool(Protocol):
    """Takes jobs while it has room, and tells which are over."""

    @property
    def room(self) -> int:
        """Jobs it can begin at once."""
        ...

    @property
    def held(self) -> set[str]:
        """Problems that idle workers have in memory."""
        ...

    def submit(self, job: Job) -> None: ...

    def wait(self, seconds: float) -> list[tuple[Job, Ended]]:
        """Jobs that are over, after at most so long. Raises: what ended one of them, RunFailed."""
        ...


class Here:
    """A `Pool` of this process."""

    def __init__(self, folder: Path, stop: Path) -> None:
        self._folder, self._stop, self._cache, self._jobs = folder, stop, Cache(), list[Job]()

    @property
    def room(self) -> int:
        return 0 if self._jobs else 1

    @property
    def held(self) -> set[str]:
        return {self._cache.problem}

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, seconds: float) -> list[tuple[Job, Ended]]:
        job = self._jobs.pop()
        return [(job, do(job, self._folder / job.trial.id, self._stop, self._cache))]


class Worker:
    """What an actor does."""

    def __init__(self, path: Sequence[str]) -> None:
        sys.path += [entry for entry in path if entry not in sys.path]  # where a user's module is
        self._cache = Cache()

    def do(self, job: Job, folder: Path, stop: Path) -> Ended:
        return do(job, folder, stop, self._cache)


class OnRay:
    """A `Pool` of Ray actors; one that dies is started again, and its job goes on."""

    def __init__(self, folder: Path, stop: Path, parallel: int, gpus: float) -> None:
        self._folder, self._stop, self._gpus = folder.resolve(), stop.resolve(), gpus
        self._idle = [self._actor() for _ in range(parallel)]
        self._at = dict.fromkeys(map(id, self._idle), "")  # the problem an actor has in memory
        self._running: dict[Any, tuple[Any, Job]] = {}
        self._deaths: dict[str, int] = {}

    @property
    def room(self) -> int:
        return len(self._idle)

    @property
    def held(self) -> set[str]:
        return {self._at[id(actor)] for actor in self._idle}

    def _actor(self) -> Any:
        import ray

        kind: Any = ray.remote(Worker)
        return kind.options(num_cpus=1, num_gpus=self._gpus, max_restarts=0).remote([*sys.path, os.getcwd()])

    def submit(self, job: Job) -> None:
        actor = next((a for a in self._idle if self._at[id(a)] == job.trial.problem), self._idle[0])
        self._idle.remove(actor)
        self._at[id(actor)] = job.trial.problem
        self._running[actor.do.remote(job, self._folder / job.trial.id, self._stop)] = (actor, job)

    def wait(self, seconds: float) -> list[tuple[Job, Ended]]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        found: list[tuple[Job, Ended]] = []
        for ref in ray.wait(list(self._running), timeout=seconds)[0]:
            actor, job = self._running.pop(ref)
            try:
                ended = ray.get(ref)
            except RayActorError as error:
                self._start_another(actor, job, error)
                continue
            except RayTaskError as error:
                raise error.cause from None
            self._deaths.pop(job.trial.id, None)
            self._idle.append(actor)
            found.append((job, ended))
        return found

    def _start_another(self, actor: Any, job: Job, error: Exception) -> None:
        self._deaths[job.trial.id] = self._deaths.get(job.trial.id, 0) + 1
        if self._deaths[job.trial.id] == DEATHS:
            told = f"the process of trial {job.trial.id} died {DEATHS} times in a row: {error}"
            raise RunFailed(f"{told}; where memory is short take a smaller machine.parallel")
        del self._at[id(actor)]
        another = self._actor()
        self._idle.append(another)
        self._at[id(another)] = ""
        self.submit(job)


@contextmanager
def opened(folder: Path, stop: Path, parallel: int, gpus: float) -> Iterator[Pool]:
    """Raises: InputError where Ray is not installed."""
    if parallel == 0:
        yield Here(folder, stop)
        return
    started = cluster.connect(Settings(actors=parallel, gpus_per_actor=gpus))
    try:
        yield OnRay(folder, stop, parallel, gpus)
    finally:
        if started:
            import ray

            ray.shutdown()
