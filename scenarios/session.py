"""The methods of one run, one after another on one Grid; those that an earlier start ended are not repeated."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from flwr.serverapp import Grid

from fl_ef21.blocks import Array
from fl_ef21.engine import RayGrid, ShardLost
from fl_ef21.failpoints import failpoint
from fl_ef21.traffic import Traffic
from scenarios import changes, chaos, heterogeneity, model_files
from scenarios.folder import alone
from scenarios.lasting import JOURNAL, Lasting, images, restore
from scenarios.left import Left, rows_of
from scenarios.loading import to_toml
from scenarios.manner import Manner
from scenarios.progress import Listener, Plan, Progress
from scenarios.recorder import Recorder, environment
from scenarios.run_file import RunFile
from scenarios.schema import Scenario
from scenarios.setup import Setup
from scenarios.summary import summarise
from scenarios.tally import Outcome, Row
from scenarios.timeline_file import TimelineFile
from scenarios.trackers import Run as Tracked
from scenarios.trackers import Telling, Tracker
from scenarios.traffic_file import TrafficFile
from scenarios.training import Training
from strategies.journal import Journal
from strategies.rounds import Silence


class Session:
    """One start of a run.

    Attributes:
      run: what is known of the run; its `starts` are empty where this is the first.
      memory: what the run needs of it, None on Flower's runtimes.
      faults: how many were done on purpose, by word.
      heterogeneity: how different the clients are.
      recorder: writes the run folder `out`; None until there is a Grid to train on, so that what cannot start
        leaves nothing behind.
      trackers: are told of the run besides.
    """

    def __init__(
        self, setup: Setup, run: RunFile, listener: Listener, trackers: Sequence[Tracker] = (),
        manner: Manner | None = None,
    ) -> None:  # fmt: skip
        self.setup, self.run, self.out, self.listener = setup, run, run.folder, listener
        self.manner = manner or Manner()
        self.first = not run.starts
        self.recorder: Recorder | None = None
        self.outcomes: list[tuple[str, Outcome]] = []
        self.memory: dict[str, Any] | None = None
        self.faults: dict[str, int] | None = None
        self.heterogeneity: dict[str, Any] | None = None
        self.trackers = Telling(trackers, listener.message)
        self.interrupt = self.manner.interrupt
        self.began = time.perf_counter()

    def train(self, grid: Grid) -> None:
        """All methods; stops early at Ctrl-C or where no client can be used."""
        labels, disturbed = [plan.label for plan in self.setup.plans], chaos.disturbed(self.setup, grid)
        with ExitStack() as stack:
            lasting, left = self._open(stack)
            self.heterogeneity = heterogeneity.figures(self.setup)
            self.outcomes = [(labels[i], outcome) for i, outcome in enumerate(left.outcomes)] if left else []
            done = len(self.outcomes)
            scenario = self.setup.scenario
            at = max(0, left.until) if left else 0
            self.listener.start(Plan(scenario.name, labels, scenario.rounds, scenario.partition.clients, done, at))
            self._clock = (time.perf_counter(), done * scenario.rounds + at)
            for number in range(done, len(labels)):
                training = Training(self.setup, number, self.run.nonce, lasting.term)
                if left is not None and number == done:
                    self._go_on(training, grid, left, lasting)
                chaos.follow(disturbed, training.strategy)
                over = self._method(training, disturbed, Kept(self, training, grid, lasting), lasting)
                self.faults = chaos.told(disturbed)
                if not over:
                    return

    def summary(self) -> dict[str, Any]:
        """summary.json as far as the run is."""
        assert self.recorder is not None
        return summarise(
            self.setup, self.run.runtime, self.run.command, self.outcomes, time.perf_counter() - self.began,
            self.memory, self.faults, self.recorder.fairness.figures, self.heterogeneity,
        )  # fmt: skip

    def drop(self) -> None:
        """Stop writing, at once."""
        self.listener.end()
        if self.recorder is not None:
            self.recorder.drop()

    def _open(self, stack: ExitStack) -> tuple[Lasting, Left | None]:
        scenario = self.setup.scenario
        if self.first:
            self.out.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(self.out))
        journal, before = None, self.run.starts[-1]["environment"] if not self.first else {}
        traffic = TrafficFile(self.out, detail=scenario.evaluate.traffic == "clients")
        timeline = TimelineFile(self.out, scenario.partition.clients, _invitations(scenario))
        text = to_toml(self.setup.resolved)
        if self.first:
            self.recorder = Recorder(self.out, text, traffic, timeline)
        if scenario.durability == "disk":
            path = self.out / JOURNAL
            journal = Journal.open(path, self.run.nonce, create=not path.exists())
            stack.callback(journal.close)
        term = self.run.term + 1
        lasting = Lasting(self.out, self.run.nonce, scenario.cuts, journal, self.listener.message, term)
        left, after = None, "nothing"
        if not self.first:
            left = Left.of(self.run, scenario, lasting, redo=self.run.runtime == "flower")
            for table in (traffic, timeline):
                table.keep(left.number, -1 if left.cut is None else left.cut.about["round"])
            self.recorder = Recorder(self.out, text, traffic, timeline, left.past)
            self.recorder.fairness.keep(left.number)
            after = self._told(left)
            self.listener.message(f"going on after {after}")
        labels = tuple(plan.label for plan in self.setup.plans)
        name, told = scenario.name, tomllib.loads(text)
        self.trackers.start(Tracked(name, self.run.nonce.hex(), self.out, told, labels, not self.first))
        here = environment()
        for change in changes.of_versions(before, here) if before else ():
            self.listener.message(f"{change} since the run was stopped: the last digits may differ")
        self.run = self.run.started(after, here)
        return lasting, left

    def _told(self, left: Left) -> str:
        """Where a run goes on, in words."""
        plans = self.setup.plans
        if left.number == len(plans):
            return "the last round of the last method"
        return f"round {max(0, left.until)} of {plans[left.number].label}"

    def _go_on(self, training: Training, grid: Grid, left: Left, lasting: Lasting) -> None:
        """Bring a method to where it was left."""
        if left.cut is not None:
            restore(training, left.cut, rows_of(left.past.rows, training.label, left.cut.about["round"]))
            if isinstance(grid, RayGrid):
                grid.load(images(left.cut))
        if lasting.journal is None or left.until <= training.tally.round:
            return
        notes = {round: note for round, _, note in lasting.journal.rounds(training.number)}
        for commit in lasting.journal.commits(training.number, training.tally.round, left.until):
            spent = training.redo(commit, notes[commit.round])
            if self.recorder is None:
                continue
            if spent is not None:
                self.recorder.traffic.round(training.number, training.label, spent)
            self.recorder.timeline.rows(training.number, training.label, commit.round, training.timeline)

    def _method(self, training: Training, grid: Grid, keep: Kept, lasting: Lasting) -> bool:
        """Train one; whether the next may follow."""
        assert self.recorder is not None
        try:
            outcome = training.run(grid, self.interrupt, keep)
        except (Silence, ShardLost) as lost:  # the clients never enrolled, or cannot be kept alive
            outcome = Outcome("failed", str(lost), training.tally, training.rows)
        outcome = replace(outcome, ledger_bytes=lasting.ledger_bytes(training))
        self.outcomes.append((training.label, outcome))
        if self.setup.scenario.evaluate.traffic != "off":
            self.recorder.traffic.method(training.number, training.label, training.clients)
        if outcome.clients is not None:
            self.recorder.fairness.method(training.number, training.label, outcome.clients)
        model_files.write(self.out, self.setup, training.number, training.strategy.descent.x, training.tally.round)
        if outcome.over:
            self.recorder.settle()
            if lasting.journal is not None:
                lasting.journal.finish(training.number, outcome.note())
            failpoint("run.between_methods")
            self.run = self.run.ended(training.number, outcome.note())
        return outcome.over and not self.interrupt.asked

    def tell(self, training: Training, row: Row) -> None:
        """Show how far the run is."""
        scenario, tally, number = self.setup.scenario, training.tally, training.number
        total, (began, before) = scenario.rounds * len(self.setup.plans), self._clock
        done = number * scenario.rounds + tally.round
        pace = (time.perf_counter() - began) / max(1, done - before)
        self.listener.round(Progress(
            method=training.label, method_number=number, round=tally.round, train_loss=row["train_loss"],
            grad_norm_sq=row["grad_norm_sq"], test_accuracy=row["test_accuracy"],
            uplink_bytes=tally.uplink_bytes, clients_per_second=tally.answers / max(tally.seconds, 1e-9),
            seconds_left=pace * (total - done), virtual_seconds=tally.virtual_seconds,
        ))  # fmt: skip


class Kept:
    """Where one method's figures go: `Keep`."""

    def __init__(self, session: Session, training: Training, grid: Grid, lasting: Lasting) -> None:
        assert session.recorder is not None
        self._session, self._training, self._grid, self._to = session, training, grid, lasting
        self._recorder = session.recorder
        self.shadow = session.recorder.shadow
        self.tell = partial(session.tell, training)
        self.lasting = lasting.journal is not None or lasting.wanted.every is not None
        self._spent: Traffic | None = None

    def timeline(self, rows: Array, round: int | None) -> None:
        self._recorder.timeline.rows(self._training.number, self._training.label, round, rows)

    def row(self, row: Row) -> None:
        self._recorder.row(row)
        self._session.trackers.row(self._training.label, row)

    def traffic(self, done: Traffic) -> None:
        self._spent = done
        self._recorder.traffic.round(self._training.number, self._training.label, done)

    def commit(self, rows: Sequence[Row], shadows: Sequence[Row]) -> None:
        note = self._training.image()[1] | {"rows": list(rows), "shadows": list(shadows)}
        if self._session.run.runtime == "flower" and self._spent is not None:
            note["traffic"] = self._spent.pack()  # who goes on does not run this round again
            note |= self._training.note()
        self._to.commit(self._training, note)

    def cut(self, now: bool) -> None:
        self._to.cut(self._training, self._grid, now, self._recorder.settle)


def _invitations(scenario: Scenario) -> int:
    """How many messages of training the run may have."""
    return len(scenario.method) * scenario.rounds * scenario.partition.clients
