"""`fl-ef21 resume`: what it goes on with, what it refuses, and how a run is stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21 import failpoints
from fl_ef21.errors import InputError
from scenarios import changes, run_file
from scenarios.cli import app
from scenarios.folder import alone
from scenarios.progress import Progress, Silent
from scenarios.runner import DiskFull, resume
from tests.scenarios.lasting_runs import lasting, told


class Impatient(Silent):
    """Presses Ctrl-C in a round of a method, so often."""

    def __init__(self, method: int, round: int, times: int = 1) -> None:
        self.at, self.times, self.texts = (method, round), times, list[str]()

    def message(self, text: str) -> None:
        self.texts.append(text)

    def round(self, progress: Progress) -> None:
        if (progress.method_number, progress.round) == self.at:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that digests of two runs can be compared."""
    monkeypatch.setattr(run_file, "new_identity", lambda: "5e" * 16)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What a run tells, durable or not."""
    found, folder = {}, tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_file, "new_identity", lambda: "5e" * 16)
        for name in ("disk", "memory"):
            scenarios.run(lasting(durability=name), out=folder / name)
            found[name] = told(folder / name)
    return found


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A durable run that was stopped in round 4 of its second method."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_file, "new_identity", lambda: "5e" * 16)
        scenarios.run(lasting(), out=out, listener=Impatient(1, 4))
    return out


@pytest.fixture
def left(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(stopped, tmp_path / "left")
    return tmp_path / "left"


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize(
    ("durability", "method", "round"),
    [("memory", 0, 6), ("memory", 1, 4), ("disk", 0, 1), ("disk", 1, 3)],
)
def test_after_ctrl_c_it_goes_on_as_if_nothing_had_been(
    durability: str, method: int, round: int, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    changed = {"durability": durability} | ({"cuts": {}} if durability == "memory" else {})
    result = scenarios.run(lasting(**changed), out=tmp_path / "run", listener=Impatient(method, round))
    assert result.summary["status"] == "interrupted" and result.rounds["round"].iloc[-1] == round
    assert resume(tmp_path / "run").summary["status"] == "finished"
    one, other = told(tmp_path / "run"), undisturbed[durability]
    if durability == "memory":
        one["files"], other = sorted({*one["files"], "cuts"}), other | {"files": sorted({*other["files"], "cuts"})}
    assert one == other


def test_ctrl_c_twice_stops_at_once_and_a_durable_run_goes_on(
    undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        scenarios.run(lasting(), out=tmp_path / "run", listener=Impatient(0, 5, times=2))
    assert not (tmp_path / "run" / "summary.json").exists() and not (tmp_path / "run" / "report.html").exists()
    resume(tmp_path / "run")
    assert told(tmp_path / "run") == undisturbed["disk"]


def test_the_command_line_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scenarios import progress

    file, out = tmp_path / "some.toml", tmp_path / "run"
    from scenarios.loading import to_toml

    file.write_text(to_toml(lasting()))
    monkeypatch.setattr(progress, "listener_for", lambda stream: Impatient(0, 3))
    done = call("run", str(file), "--out", str(out))
    assert done.exit_code == 7 and f"go on with: fl-ef21 resume {out}" in done.stderr
    monkeypatch.setattr(progress, "listener_for", lambda stream: Silent())
    done = call("resume", str(out))
    assert done.exit_code == 0 and f"report: {out}" in done.stdout
    starts = json.loads((out / "run.json").read_text())["starts"]
    assert [start["after"] for start in starts] == ["nothing", "round 3 of compressed-sgd"]
    assert all(start["environment"]["torch"] for start in starts)
    done = call("resume", str(out))
    assert done.exit_code == 3 and "is finished" in done.stderr


def test_the_listener_is_told_where_it_goes_on(left: Path) -> None:
    from scenarios.progress import Plan, headline

    class Plans(Silent):
        def start(self, plan: Plan) -> None:
            self.plan = plan

    listener = Plans()
    resume(left, listener=listener)
    assert (listener.plan.done, listener.plan.after) == (1, 4)
    assert headline(listener.plan).endswith("resumed after round 4 of ef21-sgdm")


# ---------------------------------------------------------------- refusals


def test_a_changed_scenario_is_refused_with_what_changed(left: Path) -> None:
    text = (left / "scenario.toml").read_text()
    (left / "scenario.toml").write_text(
        text.replace("batch_size = 2", "batch_size = 8").replace("seed = 3", "seed = 4")
    )
    before = told_files(left)
    done = call("resume", str(left))
    assert done.exit_code == 3
    assert "seed: 3 -> 4" in done.stderr and "train.batch_size: 2 -> 8" in done.stderr
    assert told_files(left) == before


def test_how_it_computes_and_when_it_takes_cuts_may_change(left: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    resume(left, overrides=["cuts.every=1", "cuts.keep_last=1", "engine.state=host"])
    assert tomllib.loads((left / "scenario.toml").read_text())["cuts"] == {"every": 1, "keep_last": 1}
    assert told(left) == undisturbed["disk"]
    assert sorted(path.name for path in (left / "cuts").glob("0001-*")) == ["0001-00000002", "0001-00000005"]


@pytest.mark.system
def test_it_goes_on_with_another_number_of_actors(left: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    resume(left, overrides=["engine.actors=2", "engine.cpus_per_actor=0.5"])
    assert told(left) == undisturbed["disk"]


def test_other_code_is_refused_by_name_unless_forced(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = changes.sources()
    other = {**now, "strategies/ef21.py": "0" * 16, "strategies/new.py": "1" * 16}
    del other["fl_ef21/select.py"]
    monkeypatch.setattr(changes, "sources", lambda _=(): other)
    with pytest.raises(InputError) as caught:
        resume(left)
    told = str(caught.value)
    assert "strategies/ef21.py: changed" in told and "strategies/new.py: new" in told
    assert "fl_ef21/select.py: gone" in told and "--force" in told
    listener = Impatient(9, 9)
    assert resume(left, force=True, listener=listener).summary["status"] == "finished"
    assert any("other code" in text for text in listener.texts)


def test_other_versions_are_told(left: Path) -> None:
    path = left / "run.json"
    run = json.loads(path.read_text())
    run["starts"][-1]["environment"]["torch"] = "0.1"
    path.write_text(json.dumps(run))
    listener = Impatient(9, 9)
    resume(left, listener=listener)
    assert any(text.startswith("torch 0.1 -> ") for text in listener.texts)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "no", "there is no such folder"), (tmp_path, "no run.json")):
        done = call("resume", str(folder))
        assert done.exit_code == 3 and words in done.stderr


def test_a_run_in_memory_that_was_killed_kept_nothing(tmp_path: Path) -> None:
    with failpoints.arm("training.round:raise:2"), pytest.raises(failpoints.Failed):
        scenarios.run(lasting(durability="memory", cuts={}), out=tmp_path / "run")
    with pytest.raises(InputError, match=r'kept nothing to go on from.*durability = "memory"'):
        resume(tmp_path / "run")


def test_a_run_file_that_is_damaged_is_refused(left: Path) -> None:
    (left / "run.json").write_text((left / "run.json").read_text()[:100])
    with pytest.raises(InputError, match=r"run\.json.*is damaged"):
        resume(left)


def test_two_programs_do_not_write_one_run(left: Path) -> None:
    with alone(left), pytest.raises(InputError, match="another program is running in this folder"):
        resume(left)


# ---------------------------------------------------------------- damage


def test_rows_that_were_torn_or_lost_come_from_the_journal(left: Path, undisturbed: dict[str, dict[str, Any]]) -> None:
    rows = (left / "rounds.jsonl").read_text()
    (left / "rounds.jsonl").write_text(rows[: len(rows) // 3])
    (left / "shadow.jsonl").unlink()
    resume(left)
    assert told(left) == undisturbed["disk"]


def damage(cut: Path) -> None:
    path = cut / "server.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", [1, 2])
def test_damaged_cuts_are_named_and_passed_over(
    damaged: int, left: Path, undisturbed: dict[str, dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    cuts = sorted((left / "cuts").glob("0001-*"))
    for cut in cuts[-damaged:]:
        damage(cut)
    resume(left)
    assert cuts[-1].name in caplog.text and "damaged" in caplog.text
    starts = json.loads((left / "run.json").read_text())["starts"]
    assert starts[-1]["after"] == f"round {2 if damaged == 1 else 0} of ef21-sgdm"
    assert told(left) | {"files": ()} == undisturbed["disk"] | {"files": ()}


def test_without_any_cut_the_method_begins_anew_and_is_compared(
    left: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    shutil.rmtree(left / "cuts")
    listener = Impatient(9, 9)
    resume(left, listener=listener)
    assert told(left) == undisturbed["disk"]
    assert not any("other numbers" in text for text in listener.texts)


def test_rounds_that_come_out_otherwise_are_told_by_name(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, whose sums may differ in the last bit."""
    from strategies.descent import Descent

    step = Descent.step
    monkeypatch.setattr(Descent, "step", lambda self, g, gamma: step(self, g * (1 + 2**-20), gamma))
    shutil.rmtree(left / "cuts")
    listener = Impatient(9, 9)
    resume(left, listener=listener)
    (text,) = [text for text in listener.texts if "other numbers" in text]
    assert text.startswith("ef21-sgdm: round 1 gave other numbers")


@pytest.mark.parametrize("place", ["journal.before_commit:enospc:5", "files.write:enospc:6"])
def test_a_full_disk_ends_the_run_by_name_and_it_goes_on_when_there_is_room(
    place: str, undisturbed: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with failpoints.arm(place), pytest.raises(DiskFull, match=r"No space left.*go on: fl-ef21 resume"):
        scenarios.run(lasting(), out=out)
    resume(out)
    assert told(out) == undisturbed["disk"]


def test_a_full_disk_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    from scenarios.loading import to_toml

    file = tmp_path / "some.toml"
    file.write_text(to_toml(lasting()))
    with failpoints.arm("journal.before_commit:enospc:4"):
        done = call("run", str(file), "--out", str(tmp_path / "run"))
    assert done.exit_code == 6 and "No space left" in done.stderr and "fl-ef21 resume" in done.stderr


def told_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
