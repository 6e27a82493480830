"""`chaos` in a scenario and on the command line: checked before anything starts, told in summary and report."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21.errors import InputError
from scenarios import chaos_text
from scenarios.cli import app
from scenarios.loading import ScenarioError, parse, to_toml
from scenarios.results import Result
from scenarios.setup import prepare
from tests.small import ALL_METHODS, scenario

CRASHES = "kill=3%,duplicate=10%,seed=2"


@pytest.mark.parametrize("actors", [0, pytest.param(2, marks=[pytest.mark.nightly, pytest.mark.system])])
def test_what_only_crashes_leaves_every_figure_as_it_is(actors: int) -> None:
    def measured(text: str | None) -> Result:
        return scenarios.run(scenario(method=ALL_METHODS[2:5], chaos=text, engine={"actors": actors}))

    calm, disturbed = measured(None), measured(CRASHES)
    besides = ["wall_seconds", "rejected", "clients_per_second"]
    assert disturbed.rounds.drop(columns=besides, errors="ignore").equals(
        calm.rounds.drop(columns=besides, errors="ignore")
    )
    done = disturbed.summary["chaos"]["done"]
    assert set(done) == {"kill", "duplicate"} and calm.summary["chaos"] is None
    refused = sum(m["rejected_reasons"].get("stale", 0) for m in disturbed.summary["methods"])
    assert refused == done["duplicate"]


def test_who_was_wiped_takes_part_again() -> None:
    found = scenarios.run(scenario(rounds=10, chaos="wipe=10%"))
    (method,) = found.summary["methods"]
    assert method["rejected_reasons"]["lacks"] == found.summary["chaos"]["done"]["wipe"]
    assert method["invariant_error"] < 1e-6 and method["status"] == "finished"


def test_summary_report_and_command_line_tell_what_was_done(tmp_path: Path) -> None:
    path, out = tmp_path / "my.toml", tmp_path / "run"
    path.write_text(to_toml(scenario()))
    said = CliRunner().invoke(app, ["run", str(path), "--out", str(out), "--chaos", "late=20%,damage=10%"])
    assert said.exit_code == 0, said.output
    result = Result.load(out)
    done = result.summary["chaos"]["done"]
    sentence = f"disturbed by late=20%,damage=10%: {done['damage']} damage, {done['late']} late; replies refused: "
    assert sentence in said.output and "crc" in said.output
    assert "the same again: fl-ef21 run" in said.output and "chaos=late=20%,damage=10%" in said.output
    assert sentence in (out / "report.html").read_text()


def test_nothing_is_told_of_a_run_that_was_left_alone() -> None:
    assert chaos_text.sentence({"methods": []}) == ""
    assert "none came about" in chaos_text.sentence({"chaos": {"words": "kill=1%", "done": {}}, "methods": []})


def test_a_mistake_is_told_with_its_line() -> None:
    text = to_toml(scenario()).replace('name = "small"', 'name = "small"\nchaos = "kil=2%"', 1)
    with pytest.raises(ScenarioError, match=r"line 2: chaos = 'kil=2%': 'kil' is no fault; did you mean 'kill'\?"):
        parse(text)


@pytest.mark.parametrize("word", ["kill", "wipe"])
def test_flowers_simulation_is_not_asked_for_what_it_cannot_do(word: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"chaos = '{word}=2%': only the resident engine"):
        scenarios.run(scenario(chaos=f"{word}=2%"), runtime="flower", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_clients_need_not_know_of_it() -> None:
    assert prepare(scenario(chaos="late=1%")).source == prepare(scenario()).source


@pytest.mark.system
@pytest.mark.nightly
def test_flowers_simulation_is_disturbed_as_well() -> None:
    found = scenarios.run(scenario(chaos="lose=10%,duplicate=10%,late=10%,damage=10%"), runtime="flower")
    beside = scenarios.run(scenario(chaos="lose=10%,duplicate=10%,late=10%,damage=10%"))
    assert found.summary["chaos"] == beside.summary["chaos"]
    for a, b in zip(found.summary["methods"], beside.summary["methods"], strict=True):
        assert a["rejected_reasons"] == b["rejected_reasons"] and a["uplink_bytes"] == b["uplink_bytes"]
        assert a["invariant_error"] < 1e-6
