"""Runs a scenario on one of the runtimes and leaves a run folder."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower import client_app, identity
from clients.program import Program
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.keeper import Keep
from fl_ef21.errors import InputError, Refused, choose
from fl_ef21.files import FULL
from fl_ef21.flower_internals import deployed, simulate, simulated
from fl_ef21.store import Files, Memory
from fl_ef21.tiers import Place
from scenarios import changes, chaos, fleets, footprint, places, reference_step, report, timing
from scenarios.folder import alone, refuse_used
from scenarios.lasting import CUTS, JOURNAL
from scenarios.loading import load, parse, to_toml
from scenarios.manner import Manner
from scenarios.others import others
from scenarios.progress import Listener, Silent
from scenarios.results import Result
from scenarios.run_file import NAME as RUN_FILE
from scenarios.run_file import RunFile
from scenarios.samples import FIELD
from scenarios.schema import Scenario
from scenarios.session import Session
from scenarios.setup import Setup, prepare
from scenarios.trackers import Tracker
from scenarios.warned import warnings_told

STATE = "clients"  # of a run folder: files of client state, on Flower's simulation


class RunFailed(RuntimeError):
    """A run that could not go on; what it had measured is in its folder."""


class Stopped(RunFailed):
    """A run that somebody stopped; it can go on."""


class NoQuorum(Stopped):
    """A run that was paused, as too few clients answered; it can go on."""


class DiskFull(RunFailed):
    """A run whose disk would not take any more; what was committed until then is safe."""


def run(
    scenario: Scenario | Path | str, *, out: Path | None = None, runtime: str = "resident",
    listener: Listener | None = None, command: str | None = None, trackers: Sequence[Tracker] = (),
    manner: Manner | None = None,
) -> Result:  # fmt: skip
    """Run every method of a scenario side by side on the same data, partition and samples.

    Without `out` nothing is left on disk. Trackers are told of the run besides; one that fails is left out.
    manner: of one run among many.
    Raises: InputError for what cannot work, before anything starts; RunFailed where no client could be used or the disk
    is full.
    """
    resolved = scenario if isinstance(scenario, Scenario) else load(scenario)
    execute = choose(RUNTIMES, runtime, "runtime")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="fl-ef21-") as folder:
            return run(
                resolved, out=Path(folder) / "run", runtime=runtime, listener=listener, command=command,
                trackers=trackers, manner=manner,
            ).detached()  # fmt: skip
    refuse_used(out)
    listener = listener or Silent()
    listener.message("loading data and checking the scenario")
    chaos.check(resolved, runtime)
    timing.check(resolved, real=False)
    setup = reference_step.settled((manner or Manner()).prepare(resolved, alone=runtime == "flower"))
    if setup.choice is not None:
        listener.message(str(setup.choice))
    if told := reference_step.told(resolved, setup):
        listener.message(told)
    command = command or f"fl-ef21 run {out / 'scenario.toml'}"
    devices, plugins = fleets.digest(setup.scenario), others(setup.scenario)
    begun = RunFile.new(out, to_toml(setup.resolved), runtime, command, devices, plugins)
    return _conduct(Session(setup, begun, listener, trackers, manner), execute)


def resume(
    folder: Path, *, overrides: Sequence[str] = (), force: bool = False, listener: Listener | None = None,
    trackers: Sequence[Tracker] = (), manner: Manner | None = None,
) -> Result:  # fmt: skip
    """Go on with a run that was interrupted, killed, or ran out of disk, and end as if nothing had been.

    overrides: changes of [engine] and [cuts], such as "engine.actors=4". force: also with other code.
    Raises: InputError where there is nothing to go on with, or something else was changed; RunFailed.
    """
    listener = listener or Silent()
    left = unfinished(folder)
    with alone(folder):
        scenario = load(folder / "scenario.toml", overrides)
        for warning in changes.refuse(left, scenario, force):
            listener.message(warning)
        timing.check(scenario, real=False)
        fleets.refuse_another(left, scenario)
        listener.message("loading data and checking the scenario")
        setup = (manner or Manner()).prepare(scenario, alone=left.runtime == "flower")
        return _conduct(Session(setup, left, listener, trackers, manner), choose(RUNTIMES, left.runtime, "runtime"))


def serve(setup: Setup, grid: Grid, out: Path, command: str, listener: Listener | None = None) -> Result:
    """Run a scenario on a Grid that somebody else started, as a ServerApp does; a run that `out` holds goes on.

    Raises: InputError where a simulation has too few or too many nodes; RunFailed.
    """
    _count(grid, setup.problem.clients)
    chaos.check(setup.scenario, "flower")
    timing.check(setup.scenario, real=deployed(grid))
    listener = listener or Silent()

    def execute(session: Session) -> None:
        with session.interrupt:
            session.train(grid)

    if not (out / RUN_FILE).exists():
        setup = reference_step.settled(setup)
        devices, plugins = fleets.digest(setup.scenario), others(setup.scenario)
        begun = RunFile.new(out, to_toml(setup.resolved), "flower", command, devices, plugins)
        return _conduct(Session(setup, begun, listener), execute)
    left = unfinished(out)
    with alone(out):
        setup = reference_step.as_before(setup, left)
        fleets.refuse_another(left, setup.scenario)
        changes.refuse(left, setup.resolved, force=False)
        return _conduct(Session(setup, left, listener), execute)


def unfinished(folder: Path) -> RunFile:
    """The run that stopped in this folder. Raises: InputError where it is over, or nothing of it was kept."""
    left = RunFile.load(folder)
    summary = folder / "summary.json"
    if summary.is_file() and json.loads(summary.read_text()).get("status") == "finished":
        raise InputError("DIR", str(folder), "is finished; `fl-ef21 report DIR` writes its page again")
    kept = left.finished or (folder / JOURNAL).exists() or any((folder / CUTS).glob("[!.]*"))
    if not kept:
        advice = 'kept nothing to go on from: it was killed, and with durability = "memory" only Ctrl-C takes a cut'
        raise InputError("DIR", str(folder), advice)
    return left


def _count(grid: Grid, clients: int) -> None:
    """Real nodes come when they like and are waited for; those of a simulation are registered as it starts."""
    deadline = time.monotonic() + 5
    while simulated(grid) and (nodes := len(list(grid.get_node_ids()))) != clients:
        if nodes > clients or time.monotonic() > deadline:
            advice = f"the scenario has {clients} clients; add --federation-config 'num-supernodes={clients}'"
            raise InputError("num-supernodes", nodes, advice)
        time.sleep(0.2)


def _conduct(session: Session, execute: Callable[[Session], None]) -> Result:
    out = session.out
    try:
        with warnings_told(session.listener):
            execute(session)
    except KeyboardInterrupt:  # twice: at once
        session.drop()
        raise
    except Exception as error:
        with suppress(Exception):  # the first error is the one to tell
            _close(session)
        if words := full(error):
            raise DiskFull(f"{words}; what was committed is safe, make room and go on: fl-ef21 resume {out}") from error
        raise
    _close(session)
    failed = [f"{label}: {outcome.reason}" for label, outcome in session.outcomes if outcome.status == "failed"]
    if failed:
        raise RunFailed("; ".join(failed) + f" (what was measured is in {out})")
    return Result.load(out)


def _close(session: Session) -> None:
    session.listener.end()
    if session.recorder is not None:
        summary = session.summary()
        session.recorder.close(summary)
        if session.manner.page:
            report.write(session.out)
        session.trackers.end(summary)


def full(error: BaseException) -> str:
    """What to tell where the disk would not take any more; empty where this is something else."""
    if isinstance(error, Refused) and error.reason == "storage":
        return error.detail
    if isinstance(error, OSError) and error.errno in FULL:
        return f"{error.filename or 'the run folder'}: {error.strerror}"
    return ""


def _resident(session: Session) -> None:
    setup, wanted = session.setup, session.setup.scenario.engine
    whole = wanted.address is not None and "actors" not in wanted.model_fields_set  # all that the cluster has
    actors = None if whole else wanted.actors
    settings = Settings(actors, wanted.cpus_per_actor, wanted.gpus_per_actor, wanted.address)
    needs = footprint.measure(setup)
    session.memory = needs.record()
    for line in needs.lines():
        session.listener.message(line)
    ray = "starting Ray" if wanted.address is None else f"joining the Ray cluster at {wanted.address}"
    session.listener.message("computing in this process" if actors == 0 else ray)
    with session.interrupt, resident(setup, settings, needs.place) as grid:
        session.train(grid)


def resident(setup: Setup, settings: Settings, place: Callable[[int], Place]) -> RayGrid:
    """The resident engine for a scenario; `place`: where the state of so many clients lies."""

    def shard(clients: range) -> Program:
        return setup.program(clients, Memory(clients, place=place(len(clients)), momentum=setup.momentum))

    costs, engine = partial(getattr, setup.problem, "costs", None), setup.scenario.engine
    heal = chaos.heals(setup.scenario) if settings.actors == 0 else Keep(folder=places.folder(engine.state_dir))
    return RayGrid(setup.problem.clients, batched=shard, settings=settings, tile=setup.tile, costs=costs, heal=heal)


def _flower(session: Session) -> None:
    setup, wanted = session.setup, session.setup.scenario.engine
    if wanted.address is not None:
        raise InputError(
            "engine.address", wanted.address, "Flower's own simulation starts a Ray of its own; leave it out"
        )
    clients = setup.scenario.partition.clients
    session.listener.message("starting Flower's simulation runtime")
    server, failure = ServerApp(), list[BaseException]()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            session.train(grid)
        except BaseException as error:  # Flower would only log it
            failure.append(error)

    folder = (session.out / STATE).resolve()  # of this run, so that who goes on finds it
    with session.interrupt:
        client = client_app(_remote_loader(to_toml(setup.resolved), folder))
        backend: dict[str, Any] = {
            "init_args": {"address": "local",  # whatever cluster runs on this machine
                          "num_cpus": max(1, wanted.actors) * max(1, int(wanted.cpus_per_actor)),
                          "include_dashboard": False, "log_to_driver": False, "logging_level": "error"},
            "client_resources": {"num_cpus": wanted.cpus_per_actor, "num_gpus": wanted.gpus_per_actor},
        }  # fmt: skip
        simulate(server, client, clients, backend)
    if failure:
        raise failure[0]
    if all(outcome.over for _, outcome in session.outcomes):
        shutil.rmtree(folder, ignore_errors=True)


def flower_loader(setup: Setup, folder: Path) -> Callable[[Context], Program]:
    """Finds the program of one client, its state in a file: on Flower's runtimes a client has no fixed process."""

    def load(context: Context) -> Program:
        client = identity(context)
        if client >= setup.problem.clients:
            raise InputError("node-config.partition-id", client, f"the scenario has {setup.problem.clients} clients")
        if client not in setup.held:
            advice = "is needed: this client's file of samples; or data.path in the scenario, the folder of all files"
            raise InputError(FIELD, context.node_config.get("data-path"), advice)
        lasting = setup.scenario.durability == "disk"
        return setup.program(range(client, client + 1), Files(folder, setup.momentum, durable=lasting))

    return load


def _remote_loader(text: str, folder: Path) -> Callable[[Context], Program]:
    """As `flower_loader`, but small: Flower ships the ClientApp with every message."""
    return lambda context: flower_loader(_setup_of(text), folder)(context)


@lru_cache(maxsize=2)
def _setup_of(text: str) -> Setup:
    return prepare(parse(text), alone=True)


RUNTIMES = {"resident": _resident, "flower": _flower}
