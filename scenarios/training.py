"""Training of one method on any Grid: rounds, evaluations, stop rules. It can begin at any round."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from flwr.serverapp import Grid
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.each import Each
from fl_ef21.failpoints import failpoint
from fl_ef21.flower_internals import deployed
from fl_ef21.flower_traffic import Cost
from fl_ef21.problems.apart import each
from fl_ef21.traffic import PerClient, Traffic
from scenarios.fairness import Clients, round_figures
from scenarios.interrupt import Interrupt
from scenarios.lyapunov import NOTHING, Watch
from scenarios.measuring import measure
from scenarios.participation import Participation
from scenarios.rules import cheap_rule, measured_rule
from scenarios.setup import Setup
from scenarios.tally import NO_QUORUM, TRAFFIC, Keep, Outcome, Row, Tally
from scenarios.timing import NONE, Timing
from strategies.flower import CompressedStrategy
from strategies.rounds import Commit, Round, Silence

SHORT = 3  # rounds in a row with too few replies, after which the run is paused


class Training:
    """One method of a scenario from its first to its last round, or from where it was left.

    Attributes:
      tally, rows, clients: what it has measured so far; clients: what each has cost.
      participation: how often each client was asked, and used.
    """

    def __init__(self, setup: Setup, number: int, run: bytes, term: int = 1) -> None:
        scenario, clients = setup.scenario, setup.problem.clients
        self.setup, self.number, self.label = setup, number, setup.plans[number].label
        self.strategy: CompressedStrategy = setup.strategy(number, run)
        self.strategy.ledger.term = term
        self.tally, self.rows = Tally(), list[Row]()
        self.clients = PerClient(clients)
        self.participation = Participation(clients)
        self._each: Each | None = None  # what the model gives each client; clients tell it when they are asked
        self.timing = None if scenario.devices is None else Timing(scenario, clients, setup.effort(number))
        if self.timing is not None:
            self.tally.virtual_seconds = 0.0
            self.strategy.punctual = partial(self.timing.punctual, self.strategy)
        self._watch = Watch(setup, number) if scenario.evaluate.theory else None
        self._asides: Cost | None = None
        self._timeline = NONE
        self._new_rows, self._new_shadows = list[Row](), list[Row]()  # since the last commit

    # To go on later -------------------------------------------------------------------------------

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What this holds besides the strategy and the rows, between two rounds."""
        columns = {name: torch.from_numpy(column) for name, column in self.clients.columns.items()}
        asides = self.strategy.account.asides
        timing = {} if self.timing is None else self.timing.image()
        return columns | timing | self.participation.image(), {
            "tally": self.tally.note(),
            "asides": [int(asides.up), int(asides.down)],
        }

    def restore(self, tensors: Mapping[str, Tensor], note: Mapping[str, Any], rows: Sequence[Row]) -> None:
        """Be as `image` said, with the rows until then. The strategy is restored by itself."""
        self.tally, self.rows = Tally(**note["tally"]), list(rows)
        for name, column in self.clients.columns.items():
            column[:] = tensors[name].numpy()
        self.participation.restore(tensors)
        self._asides = Cost(*note["asides"])
        if self.timing is not None:
            self.timing.restore(tensors, self.tally.virtual_seconds or 0.0, self.strategy)

    def note(self) -> dict[str, Any]:
        """What the last round adds to the journal for clients that do not compute it again."""
        late = [client for client, rounds in zip(self.strategy.used.tolist(), self.strategy.last.staleness, strict=True)
                if rounds]  # fmt: skip
        return {"late": late} | ({} if self.timing is None else self.timing.note(self._timeline))

    @property
    def timeline(self) -> Array:
        """Rows of the last round."""
        return self._timeline

    def redo(self, commit: Commit, note: Mapping[str, Any]) -> Traffic | None:
        """One more round, which clients have done already, and what it cost.

        Raises: Refused("digest") where it gives something else.
        """
        self.strategy.redo(commit, note.get("late", ()))
        self.strategy.guard.put_out(note["tally"]["quarantined"])
        self.tally, self._asides = Tally(**note["tally"]), Cost(*note["asides"])
        self.rows += note["rows"]
        spent = Traffic.unpack(note["traffic"]) if note.get("traffic") else None
        self.participation.add(commit.clients if spent is None else spent.clients[spent.asked], commit.clients)
        if spent is not None:
            self.clients.add(spent)
        if self.timing is not None:
            self._timeline = self.timing.redo(note, self.tally.virtual_seconds or 0.0, self.strategy)
        return spent

    # Rounds ---------------------------------------------------------------------------------------

    def run(self, grid: Grid, interrupt: Interrupt, keep: Keep) -> Outcome:
        """Train to the end, or until somebody interrupts; clients forget what is over."""
        self.strategy.nodes.enrol(grid)
        if self._asides is not None:
            if self.strategy.history is not None:
                self.strategy.audit(grid, anyway=True)  # who lost its state says so, and is repaired
            self.strategy.account.asides = self._asides  # those clients had enrolled before
        try:
            outcome = self._begin(grid, keep) or self._rounds(grid, interrupt, keep)
        except Exception:
            self._farewell(grid, keep.lasting)
            raise
        outcome = self._measured(outcome)
        self._farewell(grid, not outcome.over and (keep.lasting or outcome.status == "interrupted"))
        if self.timing is not None:
            keep.timeline(self.timing.rest(), None)
            devices = self.timing.sums.by_class(self.timing.fleet, self.timing.clock.now)
            outcome = replace(outcome, devices=devices)
        return replace(outcome, asides=self.strategy.account.asides)

    def _measured(self, outcome: Outcome) -> Outcome:
        """With what the last model gives each client, as far as anybody here knows."""
        if self.setup.scenario.evaluate.fairness == "off" or outcome.status == "failed":
            return outcome
        n, used = self.setup.problem.clients, self.participation
        fleet = None if self.timing is None else self.timing.fleet
        kinds, steps = ((), np.full(n, np.nan)) if fleet is None else (fleet.kinds, fleet.step_seconds)
        return replace(outcome, clients=Clients(self._now(), used.asked, used.used, kinds, steps))

    def _now(self) -> Each:
        if self._each is None and not self.setup.asks_clients:
            self._each = each(self.setup.problem, self.strategy.descent.x)
        return self._each or Each.nothing(self.setup.problem.clients)

    def _farewell(self, grid: Grid, to_be_continued: bool) -> None:
        if not to_be_continued:
            self.strategy.retire(grid)

    def _begin(self, grid: Grid, keep: Keep) -> Outcome | None:
        if self.tally.round == 0 and not self.rows:
            if reason := self._evaluate(grid, 0):
                return self._outcome("diverged", reason)
            keep.row(self.rows[-1])
        self._look(grid, self.tally.round + 1, keep)
        return None

    def _rounds(self, grid: Grid, interrupt: Interrupt, keep: Keep) -> Outcome:
        scenario, short = self.setup.scenario, 0
        began = time.perf_counter()
        timeout = scenario.train.timeout if self.timing is None else self.timing.timeout(deployed(grid))
        try:
            for done in self.strategy.rounds(grid, scenario.rounds, timeout, self.tally.round):
                failpoint("training.round")
                self._count(done, time.perf_counter() - began, keep)
                last, lasts = done.number == scenario.rounds, done.participants > 0 or done.abandoned
                short = short + 1 if done.abandoned else 0
                stop, before = cheap_rule(scenario.stop, self.tally), len(self.rows)
                due, diverged = last or bool(stop) or done.number % scenario.evaluate.every == 0, ""
                if due:
                    diverged = self._evaluate(grid, done.participants)
                    stop = stop or ("" if diverged else measured_rule(scenario.stop, self.rows[-1]))
                if lasts:
                    self._commit(keep)
                for row in self.rows[before:]:
                    keep.row(row)
                if diverged:
                    return self._outcome("diverged", diverged)
                keep.tell(self.rows[-1])
                if stop:
                    return self._outcome("stopped", stop)
                if interrupt.asked and not last:
                    return self._leave(grid, done, keep, f"stopped by the user after round {done.number}")
                if short == SHORT and not last:
                    return self._leave(grid, done, keep, self._no_quorum(done))
                if not last and lasts:
                    self._spend(keep.cut, False)
                self._look(grid, done.number + 1, keep)
                began = time.perf_counter()
        except Silence as silence:
            gone = set(self.tally.reasons) <= {"gradient", "value", "values"} and bool(self.tally.reasons)
            return self._outcome("diverged" if gone and self.tally.round > 1 else "failed", str(silence))
        return self._outcome("finished", "")

    def _count(self, done: Round, seconds: float, keep: Keep) -> None:
        self.tally.add(done, seconds)
        self.participation.add(self.strategy.asked, self.strategy.used)
        self._each = self._each if self.setup.asks_clients else None  # of the model before
        if self.strategy.waited is not None and done.number > 1:  # the first also loads and compiles
            self.tally.server_seconds = (self.tally.server_seconds or 0.0) + seconds - self.strategy.waited
        if done.traffic is not None:
            self.clients.add(done.traffic)
            if self.timing is not None:
                self.tally.virtual_seconds = self.timing.count(done.traffic, self.strategy.used)
                self._timeline = self.timing.told()
                keep.timeline(self._timeline, done.number)
            keep.traffic(done.traffic)

    def _commit(self, keep: Keep) -> None:
        rows, self._new_rows = self._new_rows, []
        shadows, self._new_shadows = self._new_shadows, []
        self._spend(keep.commit, rows, shadows)

    def _spend(self, what: Any, *given: Any) -> None:
        """Seconds that lasting costs are seconds of the run."""
        began = time.perf_counter()
        what(*given)
        self.tally.seconds += time.perf_counter() - began

    def _no_quorum(self, done: Round) -> str:
        """Why the run is paused."""
        least, why = self.setup.scenario.train.min_reports, f"; {done.first}" if done.first else ""
        told = f"{SHORT} rounds in a row, the last of them {done.number}, had fewer than {least} usable replies{why}"
        return f"{NO_QUORUM}: {told}"

    def _leave(self, grid: Grid, done: Round, keep: Keep, why: str) -> Outcome:
        """A last cut, then a row for the report, of which who goes on knows nothing: undisturbed, there is none."""
        if done.participants or done.abandoned:
            keep.cut(True)
        if self.rows[-1]["round"] < done.number and not self._evaluate(grid, done.participants):
            keep.row(self.rows[-1])
        return self._outcome("interrupted", why)

    def _outcome(self, status: str, reason: str) -> Outcome:
        return Outcome(status, reason, self.tally, self.rows)

    def _evaluate(self, grid: Grid, participants: int) -> str:
        """Measure f at the model and add a row; what is wrong, if the model is no longer finite."""
        tally, found, evaluate = self.tally, measure(self.setup, self.strategy, grid), self.setup.scenario.evaluate
        self._each = found.each
        if not found.finite:
            return f"the training loss is not finite at round {tally.round}"
        row = {
            "method": self.label, "round": tally.round, "train_loss": found.train_loss,
            "grad_norm_sq": found.grad_norm_sq, "test_accuracy": found.test_accuracy,
            "uplink_bytes": tally.uplink_bytes, "downlink_bytes": tally.downlink_bytes,
            "participants": participants, "rejected": tally.rejected,
            "invariant_error": self.strategy.audit(grid) if evaluate.audit else None,
            "wall_seconds": round(tally.seconds, 6), "abandoned": tally.abandoned,
            "virtual_seconds": tally.virtual_seconds, "evaluated": found.evaluated,
            **{name: tally.traffic.get(name, None if tally.round else 0) for name in TRAFFIC},
            **round_figures(self._now() if evaluate.fairness == "rounds" else None),
            **(NOTHING if self._watch is None else self._watch.figures(self.strategy, grid)),
        }  # fmt: skip
        self.rows.append(row)
        self._new_rows.append(row)
        return ""

    def _look(self, grid: Grid, round: int, keep: Keep) -> None:
        """Look at the round that comes, if it will be evaluated: what shadows would send, what theory speaks of."""
        scenario, strategy = self.setup.scenario, self.strategy
        due = round % scenario.evaluate.every == 0 or round == scenario.rounds
        if not due or round > scenario.rounds:
            return
        if self._watch is not None:
            self._watch.look(strategy, grid, round)
        if not strategy.plan.shadows or strategy.begins(round):
            return
        for seen in strategy.shadow(grid, round):
            row = {"method": self.label, "round": round, "shadow": seen.word} | seen.figures()
            self._new_shadows.append(row)
            keep.shadow(row)
