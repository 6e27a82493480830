"""The command line: exit codes, what goes to stdout and what to stderr, and what it does not import."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21.errors import InputError
from scenarios import doctor
from scenarios.cli import app
from scenarios.commands.running import again
from scenarios.commands.table import final_figures
from scenarios.progress import PlainProgress, Plan, Progress, RichProgress, listener_for

FINAL = {
    "label": "ef21-sgdm", "compressor": "TopK(k=6)", "status": "diverged", "rounds": 40, "train_loss": None,
    "grad_norm_sq": 0.25, "test_accuracy": 0.5, "uplink_bytes": 1000, "dense_uplink_bytes": 37000,
    "wall_seconds": 1.5, "reason": "the training loss is not finite at round 40",
}  # fmt: skip


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def plant(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    runner = SimpleNamespace(run=run)
    monkeypatch.setitem(sys.modules, "scenarios.runner", runner)
    monkeypatch.setattr(scenarios, "runner", runner, raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What the command asked of the runner, in an empty current folder."""
    calls: list[Any] = []

    def run(scenario: Any, **rest: Any) -> Any:
        calls.append((scenario, rest))
        return SimpleNamespace(summary={"status": "finished", "methods": [FINAL]})

    plant(monkeypatch, run)
    monkeypatch.chdir(tmp_path)
    return calls


# ---------------------------------------------------------------- run


def test_run_hands_the_changed_scenario_to_the_runner(asked: list[Any]) -> None:
    done = call("run", "quickstart", "--out", "here", "--set", "rounds=7", "--set", "method.gamma=0.25")
    [(scenario, rest)] = asked
    assert done.exit_code == 0
    assert scenario.rounds == 7 and {m.gamma for m in scenario.method} == {0.25}
    assert (rest["out"], rest["runtime"]) == (Path("here"), "resident")
    assert rest["command"] == "fl-ef21 run quickstart --set rounds=7 --set method.gamma=0.25"


def test_a_run_folder_is_named_after_scenario_and_time(asked: list[Any]) -> None:
    call("run", "quickstart", "--set", "name='a/b c'")
    out = asked[0][1]["out"]
    assert out.parent == Path("runs") and out.name.startswith("a-b-c-2")


def test_the_final_figures_go_to_stdout_and_talk_to_stderr(asked: list[Any]) -> None:
    done = call("run", "quickstart", "--out", "here")
    assert "diverged" in done.stdout and "37×" in done.stdout and "not finite at round 40" in done.stdout
    assert done.stdout.endswith(f"report: {Path('here/report.html')}\n")
    assert "starting" in done.stderr and "starting" not in done.stdout


def test_json_on_stdout_is_the_summary_with_its_places(asked: list[Any]) -> None:
    told = json.loads(call("run", "quickstart", "--out", "here", "--format", "json").stdout)
    assert told["folder"] == "here" and told["methods"][0]["label"] == "ef21-sgdm"


def test_a_command_with_spaces_is_quoted() -> None:
    assert again("my run.toml", ["name=a b"], "flower") == (
        "fl-ef21 run 'my run.toml' --set 'name=a b' --runtime flower"
    )


class RunFailed(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (InputError("data.path", "x", "is not there"), 3, "data.path = 'x': is not there"),
        (ModuleNotFoundError("no", name="ray"), 4, "ray is not installed"),
        (PermissionError(13, "Permission denied", "runs"), 4, "runs: Permission denied"),
        (RunFailed("no client answered"), 5, "the run failed: no client answered"),
        (ZeroDivisionError("oh"), 5, "ZeroDivisionError: oh (--debug shows where)"),
        (KeyboardInterrupt(), 7, "stopped by you"),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(
    raised: BaseException, code: int, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise raised

    plant(monkeypatch, run)
    command = ("run", "quickstart", "--out", str(tmp_path / "o"))
    done = call(*command)
    assert done.exit_code == code and words in done.stderr and "Traceback" not in done.output
    if isinstance(raised, Exception):
        assert "Traceback" in call(*command, "--debug").stderr


def test_a_run_that_was_interrupted_ends_with_code_7(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, lambda *_, **__: SimpleNamespace(summary={"status": "interrupted", "methods": []}))
    done = call("run", "quickstart", "--out", str(tmp_path / "o"))
    assert done.exit_code == 7 and "stopped by you" in done.stderr


def test_a_folder_that_holds_a_run_is_refused_by_name(asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "rounds.jsonl").touch()
    done = call("run", "quickstart", "--out", "old")
    assert done.exit_code == 3 and "'old': already holds a run" in done.stderr and not asked


@pytest.mark.parametrize("words", [("run", "quickstrt"), ("run", "quickstart", "--set", "rnds=1")])
def test_a_wrong_scenario_is_answered_before_the_runner_is_loaded(words: tuple[str, ...], asked: list[Any]) -> None:
    done = call(*words)
    assert done.exit_code == 3 and "did you mean" in done.stderr and not asked and not done.stdout


@pytest.mark.parametrize(
    "words",
    [("rn",), ("run",), ("run", "quickstart", "--runtime", "moon"), ("compare", "one"), ("list", "cats")],
)
def test_wrong_usage_ends_with_code_2(words: tuple[str, ...]) -> None:
    assert call(*words).exit_code == 2


def test_a_small_scenario_runs_and_is_reported_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(
        'name = "s"\nrounds = 3\n[partition]\nclients = 4\n[model]\nname = "quadratic"\ndim = 6\n'
        '[engine]\nactors = 0\n[[method]]\nname = "ef21-sgdm"\ngamma = 0.1\ncompressor = "topk"\nk = 2\n'
    )
    assert call("run", "s.toml", "--out", "a").exit_code == 0
    assert call("run", "a", "--out", "b", "--set", "rounds=4").exit_code == 0  # a run folder is a scenario too
    assert call("report", "a").stdout.strip() == str(Path("a/report.html"))
    done = call("compare", "a", "b", "--out", "c.html")
    assert done.exit_code == 0 and Path("c.html").is_file() and "to common loss" in done.stdout
    assert len(json.loads(call("compare", "a", "b", "--format", "json").stdout)) == 2
    missing = call("report", "nothing")
    assert missing.exit_code == 3 and "is not a run folder" in missing.stderr


# ---------------------------------------------------------------- list, schema, doctor, help


@pytest.mark.parametrize("kind", ["methods", "compressors", "models", "data", "scenarios"])
def test_everything_listed_has_a_line_about_it(kind: str) -> None:
    told = json.loads(call("list", kind, "--format", "json").stdout)
    assert told and all(entry["name"] and entry["description"] for entry in told)
    text = call("list", kind).stdout.splitlines()
    assert [line.split()[0] for line in text] == [entry["name"] for entry in told]


def test_schema_of_a_section_lists_its_keys() -> None:
    assert "batch_size" in json.loads(call("schema", "train").stdout)["properties"]
    assert {"train", "method"} <= set(json.loads(call("schema").stdout)["properties"])
    wrong = call("schema", "trian")
    assert wrong.exit_code == 2 and "did you mean 'train'?" in wrong.stderr


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom scenarios.cli import app\n"
        "for word in ('--help', '--version'):\n    try: app([word])\n    except SystemExit: pass\n"
        "print('loaded', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    talk, _, loaded = done.stdout.partition("\nloaded ")
    assert "doctor" in talk and "fl-ef21 0." in talk
    assert not {"torch", "flwr", "ray", "pandas", "numpy", "pydantic"} & set(loaded.split())


def test_doctor_says_why_and_how_to_mend_and_fails_only_where_nothing_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = doctor.Finding("disk", "failure", "0.1 GiB free", "run folders will not fit", "make room")
    odd = doctor.Finding("ray", "warning", "9.9", "tried with others", "pip install it")
    for findings, code in (([odd], 0), ([odd, bad], 4)):
        monkeypatch.setattr("scenarios.commands.health.examine", lambda findings=findings: findings)
        done = call("doctor")
        assert done.exit_code == code and "fix: pip install it" in done.stdout
        assert json.loads(call("doctor", "--format", "json").stdout)[0]["name"] == "ray"


def test_doctor_looks_at_this_machine() -> None:
    found = {finding.name: finding for finding in doctor.examine()}
    assert {"Python", "flwr", "ray", "torch", "GPU", "CPUs", "memory", "disk", "shared memory"} <= set(found)
    assert all(bool(f.why) == bool(f.fix) == (f.status != "ok") for f in found.values())


@pytest.mark.parametrize(
    ("version", "status"),
    [("1.40.9", "warning"), ("1.41.0", "ok"), ("1.42.7.dev1", "ok"), ("1.43", "warning")],
)
def test_doctor_knows_the_tested_versions(version: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda package: version)
    assert doctor.installed("flwr").status == status


# ---------------------------------------------------------------- figures and progress


def test_figures_that_are_missing_are_dashes_and_columns_line_up() -> None:
    lines = final_figures([FINAL, FINAL | {"label": "a", "train_loss": float("nan"), "reason": ""}]).splitlines()
    assert lines[1].index("diverged") == lines[2].index("diverged") and " – " in lines[2]
    assert lines[3:] == ["", "ef21-sgdm diverged: the training loss is not finite at round 40"]


def progress(method: int, round: int) -> Progress:
    return Progress("[m]", method, round, 0.5, 0.1, 0.9, 1500, 1234.0, 75.0)


def test_without_a_terminal_there_is_a_line_for_the_first_and_the_last_round_of_a_method() -> None:
    stream = io.StringIO()
    listener = listener_for(stream)
    assert isinstance(listener, PlainProgress)
    listener.start(Plan("s", ["[m]", "b"], 3, 4))
    for method in range(2):
        for round in (1, 2, 3):
            listener.round(progress(method, round))
    listener.end()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "s: 2 methods, 3 rounds, 4 clients"
    assert [line.split(":")[1].split()[1] for line in lines[1:]] == ["1/3", "3/3"] * 2
    assert "1.50 kB" in lines[1] and "1,234 clients/s" in lines[1] and "1 min 15 s left" in lines[1]


def test_the_live_bar_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    stream.isatty = lambda: True  # type: ignore[method-assign]
    listener = listener_for(stream)
    assert isinstance(listener, RichProgress)
    listener.message("[x]")
    listener.start(Plan("s", ["[m]"], 3, 4))
    listener.round(progress(0, 3))
    listener.end()
    listener.end()
    assert "[x] ..." in stream.getvalue() and "[m]" in stream.getvalue() and "1,234 clients/s" in stream.getvalue()


@pytest.mark.system
@pytest.mark.parametrize("actors", ["0", "2"])
def test_a_model_in_the_current_folder_is_found_by_its_import_path(tmp_path: Path, actors: str) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(64, 10)\n"
        "    def forward(self, x):\n"
        "        return self.a(x.flatten(1))\n"
    )
    (tmp_path / "s.toml").write_text(
        'name = "mine"\nrounds = 2\n[partition]\nclients = 4\n[model]\nname = "mine:Net"\n'
        '[[method]]\nname = "ef21-sgdm"\ngamma = 0.1\ncompressor = "sign"\n'
    )
    command = [str(Path(sys.executable).parent / "fl-ef21"), "run", "s.toml", "--out", "run"]
    done = subprocess.run(
        [*command, "--set", f"engine.actors={actors}"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"
