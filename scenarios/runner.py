"""Runs a scenario on one of the runtimes and leaves a run folder."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower import client_app, identity
from clients.program import Program
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.errors import InputError, choose
from fl_ef21.flower_internals import simulate, simulated
from fl_ef21.store import Files, Memory
from scenarios import chaos, footprint, report
from scenarios.folder import refuse_used
from scenarios.interrupt import Interrupt
from scenarios.loading import load, parse, to_toml
from scenarios.progress import Listener, Plan, Progress, Silent
from scenarios.recorder import Recorder
from scenarios.results import Result
from scenarios.schema import Scenario
from scenarios.setup import Setup, prepare
from scenarios.summary import summarise
from scenarios.training import Keep, Outcome, Row, Tally, Training
from strategies.rounds import Silence


class RunFailed(RuntimeError):
    """A run that could not go on; what it had measured is in its folder."""


def run(
    scenario: Scenario | Path | str, *, out: Path | None = None, runtime: str = "resident",
    listener: Listener | None = None, command: str | None = None,
) -> Result:  # fmt: skip
    """Run every method of a scenario side by side on the same data, partition and samples.

    Without `out` nothing is left on disk. Raises: InputError for what cannot work, before anything
    starts; RunFailed where no client could be used.
    """
    resolved = scenario if isinstance(scenario, Scenario) else load(scenario)
    execute = choose({"resident": _resident, "flower": _flower}, runtime, "runtime")
    if out is None:
        with tempfile.TemporaryDirectory(prefix="fl-ef21-") as folder:
            return run(
                resolved, out=Path(folder) / "run", runtime=runtime, listener=listener, command=command
            ).detached()
    refuse_used(out)
    listener = listener or Silent()
    listener.message("loading data and checking the scenario")
    chaos.check(resolved, runtime)
    setup = prepare(resolved, alone=runtime == "flower")
    if setup.choice is not None:
        listener.message(str(setup.choice))
    return _conduct(Session(setup, out, listener), execute, runtime, command)


def serve(setup: Setup, grid: Grid, out: Path, command: str) -> Result:
    """Run a scenario on a Grid that somebody else started, as a ServerApp does.

    Raises: InputError where a simulation has too few or too many nodes; RunFailed.
    """
    _count(grid, setup.problem.clients)
    chaos.check(setup.scenario, "flower")

    def execute(session: Session) -> None:
        with session.interrupt:
            session.train(grid)

    return _conduct(Session(setup, out, Silent()), execute, "flower", command)


def _count(grid: Grid, clients: int) -> None:
    """Real nodes come when they like and are waited for; those of a simulation are registered as it starts."""
    deadline = time.monotonic() + 5
    while simulated(grid) and (nodes := len(list(grid.get_node_ids()))) != clients:
        if nodes > clients or time.monotonic() > deadline:
            advice = f"the scenario has {clients} clients; add --federation-config 'num-supernodes={clients}'"
            raise InputError("num-supernodes", nodes, advice)
        time.sleep(0.2)


def _conduct(session: Session, execute: Callable[[Session], None], runtime: str, command: str | None) -> Result:
    out = session.out
    try:
        execute(session)
    finally:
        session.listener.end()
        if session.recorder is not None:
            seconds = time.perf_counter() - session.began
            command = command or f"fl-ef21 run {out / 'scenario.toml'}"
            session.recorder.close(
                summarise(session.setup, runtime, command, session.outcomes, seconds, session.memory, session.faults)
            )
            report.write(out)
    failed = [f"{label}: {outcome.reason}" for label, outcome in session.outcomes if outcome.status == "failed"]
    if failed:
        raise RunFailed("; ".join(failed) + f" (what was measured is in {out})")
    return Result.load(out)


class Session:
    """The methods of one run, one after another on one Grid.

    Attributes:
      memory: what the run needs of it, None on Flower's runtimes.
      faults: how many were done on purpose, by word.
      recorder: writes the run folder `out`; None until there is a Grid to train on, so that what cannot start
        leaves nothing behind.
    """

    def __init__(self, setup: Setup, out: Path, listener: Listener) -> None:
        self.setup, self.out, self.listener = setup, out, listener
        self.recorder: Recorder | None = None
        self.outcomes: list[tuple[str, Outcome]] = []
        self.memory: dict[str, Any] | None = None
        self.faults: dict[str, int] | None = None
        self.interrupt = Interrupt()
        self.began = time.perf_counter()
        self._nonce = secrets.token_bytes(16)  # tells two runs of one scenario apart; nothing is drawn from it

    def train(self, grid: Grid) -> None:
        """All methods; stops early at Ctrl-C or where no client can be used."""
        scenario, labels = self.setup.scenario, [plan.label for plan in self.setup.plans]
        kept, grid = scenario.evaluate.traffic, chaos.disturbed(self.setup, grid)
        self.recorder = Recorder(self.out, to_toml(self.setup.resolved), detail=kept == "clients")
        self.listener.start(Plan(scenario.name, labels, scenario.rounds, scenario.partition.clients))
        self._started = time.perf_counter()
        for number, label in enumerate(labels):
            training = Training(self.setup, number, self._nonce)
            chaos.follow(grid, training.strategy)
            try:
                spend = partial(self.recorder.traffic.round, label)
                keep = Keep(self.recorder.row, self.recorder.shadow, spend)
                outcome = training.run(grid, self.interrupt, keep, self._tell(number, label))
            except Silence as silence:  # the clients never enrolled
                outcome = Outcome("failed", str(silence), training.tally, training.rows)
            self.outcomes.append((label, outcome))
            self.faults = chaos.told(grid)
            if kept != "off":
                self.recorder.traffic.method(label, training.clients)
            if outcome.status in ("interrupted", "failed") or self.interrupt.asked:
                return

    def _tell(self, number: int, label: str) -> Callable[[Tally, Row], None]:
        scenario = self.setup.scenario
        total = scenario.rounds * len(self.setup.plans)

        def tell(tally: Tally, row: Row) -> None:
            done = number * scenario.rounds + tally.round
            elapsed = time.perf_counter() - self._started
            self.listener.round(Progress(
                method=label, method_number=number, round=tally.round, train_loss=row["train_loss"],
                grad_norm_sq=row["grad_norm_sq"], test_accuracy=row["test_accuracy"],
                uplink_bytes=tally.uplink_bytes, clients_per_second=tally.answers / max(tally.seconds, 1e-9),
                seconds_left=elapsed / done * (total - done),
            ))  # fmt: skip

        return tell


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

    def shard(clients: range) -> Program:
        return setup.program(clients, Memory(clients, place=needs.place(len(clients)), momentum=setup.momentum))

    with (
        session.interrupt,
        RayGrid(
            setup.scenario.partition.clients,
            batched=shard,
            settings=settings,
            tile=setup.tile,
            costs=lambda: getattr(setup.problem, "costs", None),
            heal=chaos.heals(setup.scenario),
        ) as grid,
    ):
        session.train(grid)


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

    with tempfile.TemporaryDirectory(prefix="fl-ef21-state-") as folder, session.interrupt:
        client = client_app(_remote_loader(to_toml(setup.resolved), Path(folder)))
        backend: dict[str, Any] = {
            "init_args": {"address": "local",  # whatever cluster runs on this machine
                          "num_cpus": max(1, wanted.actors) * max(1, int(wanted.cpus_per_actor)),
                          "include_dashboard": False, "log_to_driver": False, "logging_level": "error"},
            "client_resources": {"num_cpus": wanted.cpus_per_actor, "num_gpus": wanted.gpus_per_actor},
        }  # fmt: skip
        simulate(server, client, clients, backend)
    if failure:
        raise failure[0]


def flower_loader(setup: Setup, folder: Path) -> Callable[[Context], Program]:
    """Finds the program of one client, its state in a file: on Flower's runtimes a client has no fixed process."""

    def load(context: Context) -> Program:
        client = identity(context)
        if client >= setup.problem.clients:
            raise InputError("node-config.partition-id", client, f"the scenario has {setup.problem.clients} clients")
        return setup.program(range(client, client + 1), Files(folder, setup.momentum))

    return load


def _remote_loader(text: str, folder: Path) -> Callable[[Context], Program]:
    """As `flower_loader`, but small: Flower ships the ClientApp with every message."""
    return lambda context: flower_loader(_setup_of(text), folder)(context)


@lru_cache(maxsize=2)
def _setup_of(text: str) -> Setup:
    return prepare(parse(text), alone=True)
