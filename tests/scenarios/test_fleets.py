"""[devices] of a scenario: names and paths, availability, and the step of the reference device that a run settles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21.devices import words
from fl_ef21.devices.profile import Device, save
from fl_ef21.errors import InputError
from scenarios import fleets
from scenarios.cli import app
from scenarios.loading import ScenarioError, load, parse, to_toml
from scenarios.run_file import RunFile
from scenarios.setup import prepare
from tests.small import scenario

PHONES = {"profile": "phones-2020", "availability": "always"}
IDS = np.arange(12)


def some(**devices: Any) -> Any:
    return scenario(rounds=2, devices=PHONES | devices)


def test_the_resolved_scenario_says_what_was_measured_and_repeats_the_virtual_time(tmp_path: Path) -> None:
    first = scenarios.run(some(), out=tmp_path / "run")
    resolved = load(tmp_path / "run")
    assert resolved.devices is not None and resolved.devices.step_seconds is not None
    assert 1e-6 < resolved.devices.step_seconds < 1
    again = scenarios.run(resolved)
    assert list(again.rounds["virtual_seconds"]) == list(first.rounds["virtual_seconds"])


def test_who_goes_on_takes_what_was_measured_before(tmp_path: Path) -> None:
    before = RunFile.new(tmp_path, to_toml(some(step_seconds=0.25)), "flower", "command")
    after = fleets.as_before(prepare(some()), before)
    assert after.scenario == some(step_seconds=0.25)
    given = prepare(some(step_seconds=0.5))
    assert fleets.as_before(given, before) is given


def test_a_run_is_not_gone_on_with_on_other_devices(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("device,start_s,end_s\na,0,25\n")
    save(tmp_path / "own.toml", [Device("a", 1.0, 1e4, 1e4)])
    files = {"profile": str(tmp_path / "own.toml"), "availability": f"trace:{tmp_path / 'there.csv'}"}
    given = scenario(devices=files)
    left = RunFile.new(tmp_path, to_toml(given), "resident", "command", fleets.digest(given))
    fleets.refuse_another(left, given)
    fleets.refuse_another(RunFile.new(tmp_path, to_toml(given), "resident", "command"), given)  # as older ones are
    for file, more in (("there.csv", "b,5,6\n"), ("own.toml", "# tuned\n")):
        before = (tmp_path / file).read_text()
        (tmp_path / file).write_text(before + more)
        with pytest.raises(InputError, match="changed since the run began"):
            fleets.refuse_another(left, given)
        (tmp_path / file).write_text(before)


def test_nothing_is_measured_where_it_is_told_or_has_no_use(tmp_path: Path) -> None:
    save(tmp_path / "own.toml", [Device("a", 1.0, 1e4, 1e4)])
    for devices in (PHONES | {"step_seconds": 0.5}, {"profile": str(tmp_path / "own.toml")}):
        setup = prepare(scenario(devices=devices))
        assert fleets.settled(setup) is setup and fleets.told(setup.scenario, setup) == ""
    found = fleets.settled(prepare(some()))
    assert "as measured on this machine" in fleets.told(some(), found)


def test_where_no_samples_are_the_step_must_be_told() -> None:
    setup = prepare(some())
    object.__setattr__(setup, "held", range(0))
    with pytest.raises(InputError, match=r"devices\.step_seconds = None: profile phones-2020 needs it"):
        fleets.settled(setup)


def test_what_clients_agree_on_does_not_depend_on_devices() -> None:
    assert prepare(some(step_seconds=0.5)).source == prepare(scenario(rounds=2)).source


def test_every_client_has_a_device_of_its_class() -> None:
    given = some(step_seconds=0.01)
    assert fleets.kinds(given, 12) == fleets.fleet(given, 12).kinds
    assert sorted(fleets.kinds(given, 12)) == ["fast"] * 4 + ["middle"] * 4 + ["slow"] * 4
    assert fleets.kinds(scenario(), 12) == ("",) * 12


def test_a_scenario_s_availability_goes_before_the_profile_s() -> None:
    always, seldom = (
        fleets.fleet(some(step_seconds=0.01, availability=word), 12).there(IDS, np.zeros(12))
        for word in ("always", "bernoulli:0.01/60")
    )
    assert (always == 0).all() and (seldom > 0).sum() > 8


def test_a_built_in_profile_is_meant_by_its_name_whatever_lies_here(tmp_path: Path) -> None:
    text = 'name = "a"\nrounds = 1\n[devices]\nprofile = "silo"\n[[method]]\nname = "ef14"\ngamma = 0.1\n'
    (tmp_path / "a.toml").write_text(text)
    (tmp_path / "silo").mkdir()
    found = load(tmp_path / "a.toml")
    assert found.devices is not None and found.devices.profile == "silo"
    assert parse(to_toml(found)) == found


def test_a_trace_is_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("device,start_s,end_s\na,0,25\n")
    text = 'name = "a"\nrounds = 1\n[devices]\nprofile = "silo"\navailability = "trace:there.csv"\n'
    (tmp_path / "a.toml").write_text(text + '[[method]]\nname = "ef14"\ngamma = 0.1\n')
    found = load(tmp_path / "a.toml")
    assert found.devices is not None and found.devices.availability == f"trace:{(tmp_path / 'there.csv').resolve()}"
    assert fleets.check(found) is not None


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ({"profile": "phone-2020"}, "devices.profile = 'phone-2020': is not known; did you mean 'phones-2020'?"),
        (PHONES | {"availability": "trace:nowhere.csv"}, "devices.availability"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(devices: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        scenarios.run(scenario(devices=devices), out=tmp_path / "run")
    assert why in str(caught.value) and not (tmp_path / "run").exists()


def test_a_step_is_refused_where_devices_tell_their_own(tmp_path: Path) -> None:
    save(tmp_path / "own.toml", [Device("a", 1.0, 1e4, 1e4)])
    with pytest.raises(InputError, match=r"devices\.step_seconds = 0\.5: has no meaning"):
        fleets.check(scenario(devices={"profile": str(tmp_path / "own.toml"), "step_seconds": 0.5}))


def test_a_typo_in_availability_is_told_with_its_line() -> None:
    text = 'name = "a"\nrounds = 1\n[devices]\nprofile = "silo"\navailability = "{}"\n[[method]]\nname = "ef14"\n'
    with pytest.raises(ScenarioError, match=r"line 5: devices.availability .* did you mean 'bernoulli'"):
        parse(text.format("bernouli:0.5") + "gamma = 0.1\n")


# ---------------------------------------------------------------- commands


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_list_names_every_profile() -> None:
    for told in (call("list", "profiles"), call("devices", "list")):
        assert told.exit_code == 0
        assert [line.split()[0] for line in told.stdout.splitlines()] == list(words.shipped())
    listed = json.loads(call("devices", "list", "--format", "json").stdout)
    assert all(one["description"] for one in listed)


def test_show_tells_classes_quantiles_power_and_sources() -> None:
    told = call("devices", "show", "phones-2020").stdout
    for word in ("fast", "middle", "slow", "3,333", "FLASH", "synthetic", "50 ms", "4, 1.3, 1, 0.03", "10 %"):
        assert word in told
    found = json.loads(call("devices", "show", "phones-2020", "--format", "json").stdout)
    assert [one["name"] for one in found["classes"]] == ["fast", "middle", "slow"]
    p10, p50, p90 = found["all"]["step"]
    assert p10 < p50 < p90 and found["speed_p90_p10"] == p90 / p10 == pytest.approx(39, rel=0.1)


def test_show_takes_a_file_of_devices_too(tmp_path: Path) -> None:
    save(tmp_path / "own.toml", [Device("a", 1.0, float("inf"), 1e4), Device("b", 3.0, 1e4, 1e4, "board")])
    show = ("devices", "show", str(tmp_path / "own.toml"))
    told = call(*show).stdout
    assert "endless" in told and "board" in told and "a step in seconds" in told
    assert json.loads(call(*show, "--format", "json").stdout)["all"]["clients"] == 2


def test_show_answers_a_typo_with_the_nearest_name() -> None:
    told = call("devices", "show", "phone-2020")
    assert told.exit_code == 3 and "did you mean 'phones-2020'?" in told.stderr
