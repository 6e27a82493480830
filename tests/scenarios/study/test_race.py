"""Halving and search, over folders in which trials seem to have run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.study.lines import Line, Race
from scenarios.study.plan import Trial, plan
from scenarios.study.trial import Job
from tests.scenarios.study.studies import study

HALVING = 'gamma = [0.1, 0.2, 0.4, 0.8]\n[grid]\nmethod = ["ef21-sgdm"]\n[prune]\naxis = "round"\n'
ROUNDS = 8
Loss = Callable[[Trial, int], float]


def play(folder: Path, job: Job, loss: Loss, diverges: int | None = None) -> None:
    """Leave what a run would: rows every 2 rounds and, where it is paused, one out of turn."""
    at = folder / job.trial.id
    at.mkdir(parents=True, exist_ok=True)
    last = ROUNDS if job.until is None else math.ceil(job.until)
    rounds = sorted({*range(0, last + 1, 2), last})
    rows = [{"round": r, "test_accuracy": 1 - loss(job.trial, r), "train_loss": loss(job.trial, r), "grad_norm_sq": 1.0,
             "uplink_bytes": 100 * r, "downlink_bytes": 0, "virtual_seconds": None} for r in rounds]  # fmt: skip
    (at / "rounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    method = {"status": "diverged" if diverges else "finished", "rounds": diverges or ROUNDS, "uplink_bytes": 800}
    if job.until is None or diverges:
        (at / "summary.json").write_text(json.dumps({"status": "finished", "methods": [method]}))


def finish(race: Race, folder: Path, loss: Loss) -> list[list[Job]]:
    """Run every line to its end; the batches of jobs that were asked for."""
    asked: list[list[Job]] = []
    for line in race.lines():
        for jobs in line:
            asked.append(jobs)
            for job in jobs:
                play(folder, job, loss)
    return asked


def steps(line: Line) -> int:
    return sum(1 for _ in line)


def gamma_is_loss(trial: Trial, round: int) -> float:
    return trial.gamma / (1 + round)


def test_halving_leaves_the_better_half_at_every_rung(tmp_path: Path) -> None:
    race = Race(plan(study(HALVING)), tmp_path)
    asked = finish(race, tmp_path, gamma_is_loss)
    assert [jobs[0].until for jobs in asked] == [2.0, 4.0, None]
    assert [sorted({job.trial.gamma for job in jobs}) for jobs in asked] == [[0.1, 0.2, 0.4, 0.8], [0.1, 0.2], [0.1]]
    assert [(c.changes["method.gamma"], c.pruned) for c in race.candidates] == [
        (0.1, None),
        (0.2, 1),
        (0.4, 0),
        (0.8, 0),
    ]


def test_whoever_goes_on_with_a_study_prunes_alike(tmp_path: Path) -> None:
    """Though the folders tell by then how trials ended that were paused when it was decided."""

    def crossing(trial: Trial, round: int) -> float:  # the largest step is best at first and worst in the end
        return trial.gamma if round > 4 else 1 - trial.gamma

    first = Race(plan(study(HALVING)), tmp_path)
    finish(first, tmp_path, crossing)
    again = Race(plan(study(HALVING)), tmp_path)
    (line,) = again.lines()
    assert steps(line) == 3
    assert [c.pruned for c in again.candidates] == [c.pruned for c in first.candidates] == [0, 0, 1, None]


def test_what_a_paused_run_was_evaluated_out_of_turn_does_not_count(tmp_path: Path) -> None:
    race = Race(plan(study(HALVING + "rungs = [0.375]")), tmp_path)  # round 3, between two evaluations

    def only_then(trial: Trial, round: int) -> float:
        return -trial.gamma if round == 3 else trial.gamma

    finish(race, tmp_path, only_then)
    assert [c.pruned for c in race.candidates] == [None, None, 0, 0]


def test_what_diverged_before_a_rung_comes_last_and_later_is_not_known_yet(tmp_path: Path) -> None:
    race = Race(plan(study(HALVING + "rungs = [0.5]")), tmp_path)
    (line,) = race.lines()
    for job in next(line):
        play(
            tmp_path,
            job,
            gamma_is_loss,
            diverges=3 if job.trial.gamma == 0.1 else 6 if job.trial.gamma == 0.2 else None,
        )
    next(line)
    assert [c.pruned for c in race.candidates] == [0, None, None, 0]


def test_the_best_is_by_the_mean_over_seeds_and_a_seed_without_value_is_worst(tmp_path: Path) -> None:
    race = Race(plan(study('gamma = [0.1, 0.2]\nobjective = "train_loss"\n[grid]\nmethod = ["sgdm"]')), tmp_path)
    finish(race, tmp_path, gamma_is_loss)
    scores = [race.score(c) for c in race.candidates]
    assert scores == pytest.approx([0.1 / 9, 0.2 / 9])
    (tmp_path / race.candidates[0].trials[1].id / "summary.json").unlink()
    assert race.score(race.candidates[0]) == math.inf


SEARCH = """
objective = "train_loss"
[search]
trials = 9
batch = 3
[search.space]
"method.gamma" = {low = 0.01, high = 1.0, log = true}
"method.k" = {low = 1, high = 9}
"method.values" = ["exact", "bfloat16"]
"""


def test_a_search_comes_near_the_best_with_equal_effort_for_each_method(tmp_path: Path) -> None:
    pytest.importorskip("optuna")

    def bowl(trial: Trial, round: int) -> float:
        return (math.log10(trial.gamma) + 1) ** 2

    race = Race(plan(study(SEARCH)), tmp_path)
    finish(race, tmp_path, bowl)
    tried = {arm.label: [c for c in race.candidates if c.arm is arm] for arm in race.plan.arms}
    assert {label: len(some) for label, some in tried.items()} == {"sgdm": 9, "ef21-sgdm": 9}
    assert all(min(map(race.score, some)) < 0.1 for some in tried.values())
    assert all(set(c.changes) == {"method.gamma"} for c in tried["sgdm"])  # it has no use for k


def test_a_search_that_goes_on_proposes_what_lies_in_its_folders(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    text = SEARCH + '[prune]\naxis = "round"\n'
    first = Race(plan(study(text)), tmp_path)
    finish(first, tmp_path, gamma_is_loss)
    there = {path.name for path in tmp_path.iterdir()}
    again = Race(plan(study(text)), tmp_path)
    for line in again.lines():
        steps(line)
    told = [[(c.changes, c.pruned, [t.id for t in c.trials]) for c in race.candidates if c.arm.label == label]
            for race in (first, again) for label in ("sgdm", "ef21-sgdm")]  # fmt: skip
    assert told[:2] == told[2:]
    assert {t.id for c in again.candidates for t in c.trials} == there
