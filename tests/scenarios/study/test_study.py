"""Whole studies, small, in this process: they come to the same table however often they are stopped."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

import scenarios
from fl_ef21.errors import InputError
from scenarios import compare
from scenarios.progress import Progress
from scenarios.results import Result
from scenarios.runner import Stopped
from scenarios.study import conduct
from scenarios.study.plan import plan
from scenarios.study.reached import over, reached
from scenarios.study.shown import Silent
from scenarios.study.trial import Cache, Job, Watch, do
from tests.scenarios.study.studies import study

TEXT = 'seeds = [0, 1]\nbaseline = "sgdm"\n[grid]\n"method.k" = [5, 20]\n[machine]\nparallel = 0\n'
FILES = {
    "study.toml",
    "study.json",
    "trials",
    "results.parquet",
    "table.csv",
    "summary.json",
    "study.html",
    "study.svg",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study") / "out"
    conduct.run(study(TEXT), out)
    return out


def test_it_leaves_the_files_that_are_promised(ran: Path) -> None:
    assert {path.name for path in ran.iterdir()} == FILES


def test_a_trial_is_the_run_of_its_scenario_alone(ran: Path) -> None:
    made = plan(study(TEXT))
    trial = made.trials(made.arms[1])[1]
    apart, within = scenarios.run(trial.scenario), Result.load(ran / "trials" / trial.id)
    timed = ["wall_seconds"]
    pd.testing.assert_frame_equal(apart.rounds.drop(columns=timed), within.rounds.drop(columns=timed))


def test_the_table_is_the_mean_over_seeds_of_what_the_trials_came_to(ran: Path) -> None:
    table, trials = pd.read_csv(ran / "table.csv"), pd.read_parquet(ran / "results.parquet")
    assert len(table) == 3 and len(trials) == 6 and list(table["seeds"]) == [2, 2, 2]
    for i, some in enumerate(trials.groupby(["method", "method.k"], dropna=False, sort=False)):
        for figure in ("test_accuracy", "train_loss", "uplink_bytes"):
            assert table[figure][i] == pytest.approx(some[1][figure].mean(), rel=1e-12)
    values = trials.pivot_table(index="seed", columns="method", values="test_accuracy", aggfunc="first")
    paired = (values["ef21-sgdm"] - values["sgdm"]).mean()
    assert table["difference"][1] == pytest.approx(paired) and table["pairs"][1] == 2


def test_the_page_asks_nobody_and_names_every_method(ran: Path) -> None:
    page = (ran / "study.html").read_text()
    assert "<script" not in page and "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)
    assert all(f">{name}</th>" in page for name in ("sgdm", "ef21-sgdm, k 5", "ef21-sgdm, k 20"))
    assert page.count("<polyline") >= 1 and "Intervals are over 2 seeds" in page


def test_its_trials_can_be_compared_like_any_runs(ran: Path, tmp_path: Path) -> None:
    folders = sorted((ran / "trials").iterdir())
    assert len(compare.table(folders)) == 6
    assert compare.compare(folders[:3], tmp_path / "compare.html").is_file()


class StopAfter(Silent):
    """Ctrl-C, twice, once so many trials are over: the study ends at once."""

    def __init__(self, trials: int) -> None:
        self._at = trials

    def trials(self, done: int, paused: int, running: int, expected: int) -> None:
        if done == self._at:
            raise KeyboardInterrupt


def test_a_study_that_was_killed_goes_on_to_the_same_table(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        conduct.run(study(TEXT), out, shown=StopAfter(2))
    done = {path.name for path in (out / "trials").iterdir()}
    assert not (out / "table.csv").exists() and len(done) == 2
    torn = out / "trials" / sorted(done)[0]  # as a process leaves it that is killed in the middle
    (torn / "summary.json").unlink()
    (torn / "run.json").write_text(json.dumps(json.loads((torn / "run.json").read_text()) | {"finished": {}}))
    rows = (torn / "rounds.jsonl").read_text()
    (torn / "rounds.jsonl").write_text(rows[: len(rows) // 2])
    conduct.resume(out)
    assert (out / "table.csv").read_bytes() == (ran / "table.csv").read_bytes()
    assert (out / "study.html").read_bytes() == (ran / "study.html").read_bytes()
    told = [pd.read_parquet(folder / "results.parquet").drop(columns="wall_seconds") for folder in (out, ran)]
    pd.testing.assert_frame_equal(*told)


def test_a_trial_that_was_paused_goes_on_as_if_it_had_not_been(ran: Path, tmp_path: Path) -> None:
    made = plan(study(TEXT))
    trial = made.trials(made.arms[1])[0]
    folder, stop, cache = tmp_path / trial.id, tmp_path / "stop", Cache()
    assert do(Job(trial, "uplink_bytes", 1e3), folder, stop, cache) == "done"
    assert (
        not (folder / "summary.json").exists()
        or json.loads((folder / "summary.json").read_text())["status"] != "finished"
    )
    stop.touch()
    assert do(Job(trial), folder, stop, cache) == "paused"
    stop.unlink()
    assert do(Job(trial), folder, stop, cache) == "done"
    lines = [[json.loads(line) | {"wall_seconds": 0} for line in (at / "rounds.jsonl").read_text().splitlines()]
             for at in (folder, ran / "trials" / trial.id)]  # fmt: skip
    assert lines[0] == lines[1]


def test_pruning_does_not_change_what_the_survivors_come_to(tmp_path: Path) -> None:
    text = 'seeds = [0]\ngamma = [0.01, 1e-6]\nobjective = "train_loss"\n[grid]\nmethod = ["sgdm"]\n'
    whole = conduct.run(study(text), tmp_path / "whole", parallel=0)
    pruned = conduct.run(study(text + '[prune]\naxis = "round"\nrungs = [0.5]\n'), tmp_path / "pruned", parallel=0)
    assert [one.candidate.pruned for one in pruned.rows[0].tried] == [None, 0]
    assert pruned.rows[0].means == whole.rows[0].means and pruned.rows[0].spent == 12 < whole.rows[0].spent == 16


def test_a_folder_that_holds_a_study_is_not_written_to_again(ran: Path) -> None:
    with pytest.raises(InputError, match="already holds a study"):
        conduct.run(study(TEXT), ran)


def test_a_study_goes_on_with_the_code_it_began_with_unless_forced(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(ran, out)
    (out / "summary.json").unlink()
    note = json.loads((out / "study.json").read_text())
    note["sources"]["fl_ef21/commit.py"] = "another"
    (out / "study.json").write_text(json.dumps(note))
    with pytest.raises(InputError, match=r"fl_ef21/commit\.py"):
        conduct.resume(out)
    assert len(conduct.resume(out, force=True).rows) == 3
    with pytest.raises(InputError, match="holds no study"):
        conduct.resume(tmp_path)


def test_ctrl_c_between_trials_says_how_to_go_on(tmp_path: Path) -> None:
    class Once(Silent):
        def trials(self, done: int, paused: int, running: int, expected: int) -> None:
            if done == 1:
                signal.raise_signal(signal.SIGINT)

    out = tmp_path / "out"
    with pytest.raises(Stopped, match="go on with: fl-ef21 study"):
        conduct.run(study(TEXT), out, shown=Once())
    assert len(list((out / "trials").iterdir())) == 1 and not (out / ".stop").exists()


def test_ctrl_c_in_a_trial_pauses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(watch: Watch, progress: Progress) -> None:
        if progress.round == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Watch, "round", pressed)
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        conduct.run(study(TEXT), out)
    (trial,) = (out / "trials").iterdir()
    assert json.loads((trial / "summary.json").read_text())["methods"][0]["rounds"] == 3


def test_a_trial_that_too_few_clients_answered_is_over(tmp_path: Path) -> None:
    method = {"status": "interrupted", "reason": "no quorum: 3 rounds in a row", "rounds": 4}
    (tmp_path / "summary.json").write_text(json.dumps({"status": "interrupted", "methods": [method]}))
    assert over(tmp_path) and not reached(tmp_path, None).sound
    (tmp_path / "summary.json").write_text(json.dumps({"status": "interrupted", "methods": [method | {"reason": ""}]}))
    assert not over(tmp_path)
