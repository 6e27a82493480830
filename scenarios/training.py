"""Training of one method on any Grid: rounds, evaluations, stop rules."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flwr.serverapp import Grid

from fl_ef21.flower_traffic import Cost
from fl_ef21.traffic import LAYERS, PerClient, Traffic
from scenarios.interrupt import Interrupt
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.rounds import Round, Silence

Row = dict[str, Any]
TRAFFIC = tuple(f"{way}_{layer}" for way in ("uplink", "downlink") for layer in LAYERS if layer != "payload_bytes")


@dataclass
class Tally:
    """Cumulative figures of one method while it runs."""

    round: int = 0
    uplink_bytes: int = 0
    downlink_bytes: int = 0
    answers: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    traffic: dict[str, int] = field(default_factory=dict)
    quarantined: list[int] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)

    def add(self, done: Round, seconds: float) -> None:
        self.round = done.number
        self.uplink_bytes += done.uplink_bytes
        self.downlink_bytes += done.downlink_bytes
        self.answers += done.participants
        self.rejected += sum(done.refused.values())
        for reason, count in done.refused.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + count
        self.quarantined += done.quarantined
        self.evicted += done.evicted
        self.seconds += seconds
        for name, total in ({} if done.traffic is None else done.traffic.totals()).items():
            self.traffic[name] = self.traffic.get(name, 0) + total


@dataclass(frozen=True)
class Outcome:
    """How a method ended: finished, stopped (by a rule), diverged, interrupted or failed.

    `asides` are wire bytes of all that is no round.
    """

    status: str
    reason: str
    tally: Tally
    rows: list[Row]
    asides: Cost = field(default_factory=lambda: Cost(0, 0))


@dataclass(frozen=True)
class Keep:
    """Where figures go as they are measured: evaluated rows, rows about shadow compressors, what a round cost."""

    row: Callable[[Row], None]
    shadow: Callable[[Row], None]
    traffic: Callable[[Traffic], None]


class Training:
    """One method of a scenario from its first to its last round."""

    def __init__(self, setup: Setup, number: int, run: bytes) -> None:
        self.setup, self.label = setup, setup.plans[number].label
        self.strategy: CompressedStrategy = setup.strategy(number, run)
        self.tally, self.rows = Tally(), list[Row]()
        self.clients = PerClient(setup.problem.clients)

    def run(self, grid: Grid, interrupt: Interrupt, keep: Keep, tell: Callable[[Tally, Row], None]) -> Outcome:
        """Train to the end; `tell` is called after every round."""
        outcome = self._rounds(grid, interrupt, keep, tell)
        return replace(outcome, asides=self.strategy.account.asides)

    def _rounds(self, grid: Grid, interrupt: Interrupt, keep: Keep, tell: Callable[[Tally, Row], None]) -> Outcome:
        scenario = self.setup.scenario
        self.strategy.nodes.enrol(grid)
        if reason := self._evaluate(grid, 0, keep.row):
            return self._outcome("diverged", reason)
        self._look(grid, 1, keep.shadow)
        began = time.perf_counter()
        try:
            for done in self.strategy.rounds(grid, scenario.rounds, scenario.train.timeout):
                self.tally.add(done, time.perf_counter() - began)
                if done.traffic is not None:
                    self.clients.add(done.traffic)
                    keep.traffic(done.traffic)
                last = done.number == scenario.rounds
                stop = self._cheap_rule()
                if last or stop or interrupt.asked or done.number % scenario.evaluate.every == 0:
                    if reason := self._evaluate(grid, done.participants, keep.row):
                        return self._outcome("diverged", reason)
                    stop = stop or self._measured_rule()
                tell(self.tally, self.rows[-1])
                if stop:
                    return self._outcome("stopped", stop)
                if interrupt.asked and not last:
                    if self.rows[-1]["round"] < done.number:
                        self._evaluate(grid, done.participants, keep.row)
                    return self._outcome("interrupted", f"stopped by the user after round {done.number}")
                self._look(grid, done.number + 1, keep.shadow)
                began = time.perf_counter()
        except Silence as silence:
            gone = set(self.tally.reasons) <= {"gradient", "value", "values"} and bool(self.tally.reasons)
            return self._outcome("diverged" if gone and self.tally.round > 1 else "failed", str(silence))
        finally:
            self.strategy.retire(grid)
        return self._outcome("finished", "")

    def _outcome(self, status: str, reason: str) -> Outcome:
        return Outcome(status, reason, self.tally, self.rows)

    def _evaluate(self, grid: Grid, participants: int, keep: Callable[[Row], None]) -> str:
        """Measure f at the model and keep a row; what is wrong, if the model is no longer finite."""
        x, problem, tally = self.strategy.descent.x, self.setup.problem, self.tally
        loss, gradient = problem.objective(x)
        norm = float(gradient.square().sum())
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"the training loss is not finite at round {tally.round}"
        row = {
            "method": self.label, "round": tally.round, "train_loss": loss, "grad_norm_sq": norm,
            "test_accuracy": problem.accuracy(x), "uplink_bytes": tally.uplink_bytes,
            "downlink_bytes": tally.downlink_bytes, "participants": participants, "rejected": tally.rejected,
            "invariant_error": self.strategy.audit(grid) if self.setup.scenario.evaluate.audit else None,
            "wall_seconds": round(tally.seconds, 6),
            **{name: tally.traffic.get(name, None if tally.round else 0) for name in TRAFFIC},
        }  # fmt: skip
        self.rows.append(row)
        keep(row)
        return ""

    def _look(self, grid: Grid, round: int, keep: Callable[[Row], None]) -> None:
        """Ask what shadow compressors would send in the round that comes, if it is one that will be evaluated."""
        scenario, strategy = self.setup.scenario, self.strategy
        due = round % scenario.evaluate.every == 0 or round == scenario.rounds
        if not strategy.plan.shadows or not due or round > scenario.rounds or strategy.begins(round):
            return
        for seen in strategy.shadow(grid, round):
            keep({"method": self.label, "round": round, "shadow": seen.word} | seen.figures())

    def _cheap_rule(self) -> str:
        rule = self.setup.scenario.stop
        if rule.uplink_bytes is not None and self.tally.uplink_bytes >= rule.uplink_bytes:
            return f"uplink_bytes reached {self.tally.uplink_bytes}"
        if rule.wall_seconds is not None and self.tally.seconds >= rule.wall_seconds:
            return f"wall_seconds reached {self.tally.seconds:.1f}"
        return ""

    def _measured_rule(self) -> str:
        rule, row = self.setup.scenario.stop, self.rows[-1]
        accuracy = row["test_accuracy"]
        if rule.target_accuracy is not None and accuracy is not None and accuracy >= rule.target_accuracy:
            return f"target_accuracy reached {accuracy:.4f}"
        if rule.grad_norm_sq is not None and row["grad_norm_sq"] <= rule.grad_norm_sq:
            return f"grad_norm_sq reached {row['grad_norm_sq']:.3g}"
        return ""
