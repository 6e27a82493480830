"""Virtual time of a run: closed forms of its bytes, whatever computes it; and the commands that make profiles."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import scenarios
from fl_ef21 import flower_traffic
from fl_ef21.devices.profile import Device, load, save
from fl_ef21.errors import InputError
from fl_ef21.flower_traffic import Cost
from fl_ef21.traffic import Came, Down, tally
from scenarios import timing
from scenarios.cli import app
from scenarios.loading import ScenarioError, parse
from scenarios.loading import load as load_scenario
from scenarios.progress import Progress, Silent
from scenarios.results import Result
from scenarios.setup import prepare
from scenarios.timeline_file import AT, FATE
from scenarios.timing import Timing
from tests.small import scenario

SLOW = Device("slow", step_seconds=2.0, up_bytes_per_second=1e4, down_bytes_per_second=5e4, latency_seconds=0.1)
FAST = replace(SLOW, name="fast", step_seconds=0.01)


@pytest.fixture
def profile(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def written(*devices: Device, **more: Any) -> dict[str, Any]:
        save(tmp_path / "profile.toml", devices)
        return {"profile": str(tmp_path / "profile.toml")} | more

    return written


@pytest.fixture
def seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks all the time."""
    monkeypatch.setattr(timing, "LOOKS", None)


def virtual(result: Result) -> list[float]:
    return list(result.rounds["virtual_seconds"])


def test_a_round_takes_what_its_bytes_and_steps_take(
    profile: Callable[..., dict[str, Any]], seen_at_once: None, tmp_path: Path
) -> None:
    told = profile(replace(SLOW, poll_seconds=0.0), work=1.5)
    changed = {"partition": {"clients": 1, "scheme": "iid"}, "evaluate": {"every": 1, "traffic": "clients"}}
    train = {"local_steps": 4, "local_rate": 0.1}
    result = scenarios.run(scenario(devices=told, train=train, **changed), out=tmp_path / "run")
    traffic = result.traffic("ef21-sgdm", each="message")
    up, down = traffic["uplink_wire_bytes"], traffic["downlink_wire_bytes"]
    each = up / 1e4 + down / 5e4 + flower_traffic.trips() * 0.1 + 4 * 1.5 * 2.0
    assert virtual(result) == pytest.approx([0.0, *each.cumsum()])
    assert result.summary["methods"][0]["virtual_seconds"] == pytest.approx(each.sum())
    assert "virtual time" in (tmp_path / "run" / "report.html").read_text()


def test_virtual_time_is_the_same_whatever_computes(profile: Callable[..., dict[str, Any]]) -> None:
    away = replace(FAST, on_seconds=20.0, off_seconds=20.0)
    told = profile(SLOW, away, FAST)
    here = scenarios.run(scenario(devices=told))
    there = scenarios.run(scenario(devices=told, engine={"actors": 2}))
    assert virtual(here) == virtual(there) and virtual(here)[-1] > 6 * SLOW.step_seconds


def test_without_the_section_there_is_no_virtual_time_and_with_it_the_same_trajectory(
    profile: Callable[..., dict[str, Any]],
) -> None:
    without, with_it = scenarios.run(scenario()), scenarios.run(scenario(devices=profile(SLOW)))
    assert without.rounds["virtual_seconds"].isna().all()
    assert without.summary["methods"][0]["virtual_seconds"] is None
    aside = ["wall_seconds", "virtual_seconds"]
    assert without.rounds.drop(columns=aside).equals(with_it.rounds.drop(columns=aside))


def test_who_misses_a_virtual_deadline_is_late_whatever_the_wall_says(
    profile: Callable[..., dict[str, Any]],
) -> None:
    told = profile(SLOW, FAST, FAST)
    result = scenarios.run(scenario(devices=told, train={"timeout": 4.0, "start": "zero"}, evaluate={"every": 1}))
    assert list(result.rounds["participants"])[1:] == [8] * 6
    assert virtual(result) == pytest.approx([4.0 * round for round in range(7)])
    assert result.rounds["invariant_error"].max() < 1e-6


class Impatient(Silent):
    """Presses Ctrl-C after round 3."""

    def round(self, progress: Progress) -> None:
        if progress.round == 3:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_a_run_that_was_left_goes_on_in_virtual_time_too(
    durability: str, profile: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    wanted = scenario(devices=profile(SLOW, FAST), evaluate={"every": 1}, durability=durability)
    whole = scenarios.run(wanted)
    assert scenarios.run(wanted, out=tmp_path / "run", listener=Impatient()).summary["status"] == "interrupted"
    assert virtual(scenarios.resume(tmp_path / "run")) == virtual(whole)


def test_methods_that_take_more_gradients_take_more_time(profile: Callable[..., dict[str, Any]]) -> None:
    qsgd = {"gamma": 0.1, "compressor": "qsgd", "levels": 4, "contractive": False}
    halves = [("ef21-sgdm", {}), ("ef21-mvr", {}), ("ef21-page", {"p": 0.5}), ("dasha", {}), ("marina", {"p": 0.25})]
    methods = [{"name": name, "hyper": hyper} | qsgd for name, hyper in halves]
    setup = prepare(scenario(devices=profile(SLOW, FAST), method=methods, train={"batch_size": 2}))
    sizes = setup.problem.sizes.numpy()  # type: ignore[attr-defined]
    efforts = [setup.effort(number) for number in range(5)]
    assert [gradients for gradients, _ in efforts] == [1, 2, 2, 0, 1.5]
    for (_, besides), share in zip(efforts, [0, 0, 0.5, 1, 0.25], strict=True):
        assert np.allclose(besides, share * sizes / 2)


def test_a_round_that_is_made_again_from_the_journal_leaves_the_clock_where_it_was(
    profile: Callable[..., dict[str, Any]],
) -> None:
    wanted = scenario(devices=profile(SLOW, FAST))
    clock, again = (Timing(wanted, 3) for _ in range(2))
    wire = Cost(np.full(3, 7000), np.full(3, 3000))
    down = Down(np.arange(3), np.full(3, 900), np.zeros(3), np.zeros(3), wire)
    spent = tally(1, down, Came(np.array([0, 2]), np.array([70, 90]), np.zeros(2), np.zeros(2)))
    now, used = clock.count(spent, np.array([0, 2])), np.array([2])
    told = json.loads(json.dumps(clock.note(clock.told())))
    setup = prepare(wanted)
    assert again.redo(told, now, setup.strategy(0, b"run"))[:, AT["fate"]].tolist() == [
        FATE["used"],
        FATE["lost"],
        FATE["used"],
    ]
    assert again.count(spent, used) == clock.count(spent, used) > now > 0
    assert np.array_equal(again.sums.table, clock.sums.table, equal_nan=True)


def test_with_over_selection_the_devices_that_are_first_take_part(profile: Callable[..., dict[str, Any]]) -> None:
    told = profile(replace(SLOW, step_seconds=50.0), FAST, FAST, FAST)
    train = {"participation": 0.75, "over_selection": 4 / 3, "start": "zero"}
    result = scenarios.run(scenario(devices=told, train=train, evaluate={"every": 1}))
    alone = scenarios.run(scenario(devices=profile(FAST), train=train, evaluate={"every": 1}))
    assert list(result.rounds["participants"])[1:] == [9] * 6
    assert virtual(result)[-1] == pytest.approx(virtual(alone)[-1], rel=0.05)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"evaluate": {"traffic": "off"}}, "evaluate.traffic"),
        ({"devices": {"profile": "nowhere.toml"}}, "profile"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    profile: Callable[..., dict[str, Any]], changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        scenarios.run(scenario(**{"devices": profile(SLOW)} | changes))
    assert caught.value.field == field


def test_a_profile_beside_the_scenario_is_found_and_one_that_is_missing_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "pi.toml", [SLOW])
    text = 'name = "a"\nrounds = 1\n[devices]\n{}\n[[method]]\nname = "ef14"\ngamma = 0.1\n'
    (tmp_path / "a.toml").write_text(text.format('profile = "pi.toml"'))
    found = load_scenario(tmp_path / "a.toml").devices
    assert found is not None and found.profile == str((tmp_path / "pi.toml").resolve())
    with pytest.raises(ScenarioError, match=r"devices\.profile is missing; a name that .* shows, or a TOML file"):
        parse(text.format("work = 2"))


# ---------------------------------------------------------------- commands


def call(*words: str) -> Any:
    return CliRunner().invoke(app, ["devices", *words])


def test_fit_writes_a_profile_that_a_scenario_takes(tmp_path: Path) -> None:
    rows = ["device,kind,bytes,seconds,class", "a,up,1000,0.1,pi", "a,down,1000,0.2,", "a,step,,0.5,", "b,step,,1,"]
    (tmp_path / "mine.csv").write_text("\n".join([*rows, "b,up,10,1,", "b,down,10,1,"]))
    done = call("fit", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "mine.toml"))
    assert done.exit_code == 0, done.output
    assert [(one.name, one.kind, one.step_seconds) for one in load(tmp_path / "mine.toml")] == [
        ("a", "pi", 0.5), ("b", "device", 1.0),
    ]  # fmt: skip
    assert "a: a step 0.5 s" in done.stdout and str(tmp_path / "mine.toml") in done.stdout


def test_fit_tells_row_and_column_of_a_mistake_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("device,kind,bytes,seconds\na,upp,1,1\n")
    done = call("fit", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "mine.toml"))
    assert done.exit_code == 3 and "row 2, column kind = 'upp'" in done.stderr
    assert not (tmp_path / "mine.toml").exists()


def test_record_is_a_node_that_writes_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fl_ef21 import flower_node

    asked = []

    def node(options: list[str], seen: Any) -> None:
        asked.append(options)
        for n in (10, 5000):
            for path in ("pull-messages", "pull-object", "confirm-message-received"):
                seen.exchange(f"/v1/fleet/{path}", 100, n, 1e-9)
            time.sleep(0.01)
            seen.task("train", 0.001)
            seen.exchange("/v1/fleet/push-messages", 100, 10, 1e-9)
            seen.exchange("/v1/fleet/push-object", n, 10, 1e-9)
        raise SystemExit(0)

    monkeypatch.setattr(flower_node, "run", node)
    out = tmp_path / "pi.toml"
    done = call("record", "--out", str(out), "--name", "pi", "--class", "board", "--superlink", "here:1", "--poll", "2")
    assert done.exit_code == 0, done.output
    assert asked == [["--superlink", "here:1", "--poll", "2"]]
    (device,) = load(out)
    assert (device.name, device.kind, device.step_seconds) == ("pi", "board", pytest.approx(0.001))
