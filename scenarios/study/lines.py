"""Which trials follow which. A line is the work on one arm: all its candidates, or batches of them, or rungs.

A line depends on what its own trials came to and on nothing else, neither on the order in which they ended nor on
when: a study that was killed asks again, finds its answers in the folders, and decides alike.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scenarios.study.form import Prune, Study
from scenarios.study.plan import Arm, Plan, Trial
from scenarios.study.reached import at, reached
from scenarios.study.trial import Job

Line = Generator[list[Job], None, None]


@dataclass
class Candidate:
    """What an arm was tried with.

    Attributes:
      number: in the order of asking.
      pruned: the rung after which it was not gone on with.
    """

    arm: Arm
    number: int
    changes: Mapping[str, Any]
    trials: Sequence[Trial]
    pruned: int | None = None


class Race:
    """The candidates of a study, as far as they are known, and the lines that work on them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.study, self._folder = plan, plan.source.study, folder
        self.candidates: list[Candidate] = []

    def lines(self) -> list[Line]:
        return [self._searched(arm) if self.study.search else self._tuned(arm) for arm in self.plan.arms]

    def expected(self) -> int:
        """Trials to come, at most."""
        if self.study.search is not None:
            return self.study.search.trials * len(self.plan.arms) * len(self.study.seeds)
        return len({trial.id for candidate in self.candidates for trial in candidate.trials})

    def add(self, arm: Arm, changes: Mapping[str, Any]) -> Candidate:
        number = sum(c.arm is arm for c in self.candidates)
        found = Candidate(arm, number, changes, self.plan.trials(arm, changes))
        self.candidates.append(found)
        return found

    def score(self, candidate: Candidate) -> float:
        """Mean over seeds at the end: the smaller the better, inf where a trial came to nothing."""
        folders = [self._folder / trial.id for trial in candidate.trials]
        return worth(self.study, [reached(f, self.study.target).value(self.study.objective) for f in folders])

    def score_at(self, candidate: Candidate, share: float) -> float:
        """Likewise after a share of the budget."""
        every, limit = candidate.arm.scenario.evaluate.every, self.limit(candidate, share)
        values = [at(self._folder / trial.id, every, self.study, limit) for trial in candidate.trials]
        return worth(self.study, values)

    def limit(self, candidate: Candidate, share: float) -> float:
        """A rung, in units of its axis."""
        prune = self._prune
        if prune.axis == "round":
            return float(max(1, round(share * candidate.arm.scenario.rounds)))
        return share * float(getattr(self.study.budget, prune.axis))

    def race(self, candidates: Sequence[Candidate]) -> Line:
        """Run candidates side by side, the worse of them only as far as their rung."""
        alive = list(candidates)
        for rung, share in enumerate(self.study.prune.rungs if self.study.prune else ()):
            if len(alive) == 1:
                break
            yield [Job(t, self._prune.axis, self.limit(c, share)) for c in alive for t in c.trials]
            ranked = sorted(alive, key=lambda c: (self.score_at(c, share), c.number))
            stay = max(1, math.ceil(self._prune.keep * len(alive)))
            for candidate in ranked[stay:]:
                candidate.pruned = rung
            alive = sorted(ranked[:stay], key=lambda c: c.number)
        yield [Job(t) for c in alive for t in c.trials]

    @property
    def _prune(self) -> Prune:
        assert self.study.prune is not None
        return self.study.prune

    def _tuned(self, arm: Arm) -> Line:
        """Every step size, or the arm as it is."""
        changes: list[dict[str, Any]] = [{"method.gamma": gamma} for gamma in self.study.gammas] or [{}]
        return self.race([self.add(arm, change) for change in changes])

    def _searched(self, arm: Arm) -> Line:
        from scenarios.study.search import searched

        return searched(self, arm)


def worth(study: Study, values: Sequence[float]) -> float:
    """The mean over seeds, turned so that less is better; inf where one is missing."""
    mean = math.fsum(values) / len(values) if all(map(math.isfinite, values)) else math.inf
    return -mean if study.larger_is_better and math.isfinite(mean) else mean
