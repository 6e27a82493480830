"""Late replies and semi-asynchronous rounds on the virtual clock: g stays the sum, whoever computes, whatever fails."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import scenarios
from fl_ef21.devices.profile import Device, save
from fl_ef21.errors import InputError
from scenarios.loading import ScenarioError
from scenarios.progress import Progress, Silent
from scenarios.results import Result
from scenarios.timeline import FATES
from scenarios.timeline import read as read_timeline
from tests.small import ALL_METHODS, scenario

SPEEDS = (0.01, 0.02, 0.05, 3.0, 9.0)
BUFFERED = {"mode": "buffered", "buffer": 3, "concurrency": 8, "participation": 1.0}
Told = Callable[..., dict[str, Any]]


@pytest.fixture
def devices(tmp_path: Path) -> Told:
    def told(*speeds: float, **more: Any) -> dict[str, Any]:
        some = [Device(f"{i}", s, 1e5, 1e5, latency_seconds=0.01, **more) for i, s in enumerate(speeds or SPEEDS)]
        save(tmp_path / "profile.toml", some)
        return {"profile": str(tmp_path / "profile.toml")}

    return told


def same(a: Result, b: Result) -> bool:
    aside = ["wall_seconds", "method"]
    return a.rounds.drop(columns=aside).equals(b.rounds.drop(columns=aside))


def wanted(devices: dict[str, Any], **changes: Any) -> Any:
    told = {"devices": devices, "rounds": 12, "train": BUFFERED, "evaluate": {"every": 1}} | changes
    return scenario(**told)


def timeline(folder: Path) -> pd.DataFrame:
    found = read_timeline(folder)
    assert found is not None
    return found


def test_a_round_has_as_many_replies_as_are_wanted_and_g_stays_the_sum(devices: Told, tmp_path: Path) -> None:
    result = scenarios.run(wanted(devices()), out=tmp_path / "run")
    told = list(result.rounds["participants"])[1:]
    assert told[0] == 12 and min(told[1:]) >= 3 and result.rounds["invariant_error"].max() < 1e-6
    method = result.summary["methods"][0]
    assert method["staleness"]["max"] >= 1 and method["rejected"] == 0
    rows = timeline(tmp_path / "run")
    assert set(rows["fate"]) == {"used", "later", "busy"} <= set(FATES)
    stale = rows[rows["fate"] == "later"]
    assert (stale["used_round"] > stale["round"]).all()
    counts = (stale["used_round"] - stale["round"]).value_counts()
    histogram = {int(rounds): count for rounds, count in method["staleness"]["histogram"].items() if rounds != "0"}
    assert counts.to_dict() == histogram
    assert sum(told) == len(rows) - (rows["fate"] == "busy").sum() == method["devices"]["device"]["used"]


def test_nobody_is_asked_while_it_works(devices: Told, tmp_path: Path) -> None:
    scenarios.run(wanted(devices()), out=tmp_path / "run")
    rows = timeline(tmp_path / "run").sort_values(["client", "round"])
    for _, mine in rows.groupby("client"):
        ends = mine["used_round"].where(mine["used_round"] >= 0, 99)
        assert (mine["round"].to_numpy()[1:] > ends.to_numpy()[:-1]).all()
    asked = rows[rows["round"] > 1].groupby("round").size()
    assert asked.max() <= BUFFERED["concurrency"]


def test_quick_clients_are_not_held_up_by_slow_ones(devices: Told) -> None:
    buffered = scenarios.run(wanted(devices()))
    synchronous = scenarios.run(wanted(devices(), train={}))
    assert buffered.rounds["virtual_seconds"].max() < 0.5 * synchronous.rounds["virtual_seconds"].max()


@pytest.mark.parametrize("actors", [2, *(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 8))])
def test_actors_make_no_difference(actors: int, devices: Told) -> None:
    here = scenarios.run(wanted(devices(), rounds=6))
    assert same(here, scenarios.run(wanted(devices(), rounds=6, engine={"actors": actors})))


class Impatient(Silent):
    """Presses Ctrl-C after a round."""

    def __init__(self, after: int) -> None:
        self.after = after

    def round(self, progress: Progress) -> None:
        if progress.round == self.after:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("durability", ["memory", "disk"])
@pytest.mark.parametrize("train", [BUFFERED, {"timeout": 1.0, "late": "apply", "participation": 0.5}])
def test_a_run_that_was_left_with_replies_on_their_way_goes_on_as_if_it_had_not(
    durability: str, train: dict[str, Any], devices: Told, tmp_path: Path
) -> None:
    one = wanted(devices(), train=train, durability=durability)
    whole = scenarios.run(one, out=tmp_path / "whole")
    assert scenarios.run(one, out=tmp_path / "run", listener=Impatient(5)).summary["status"] == "interrupted"
    again = scenarios.resume(tmp_path / "run")
    assert same(whole, again) and again.rounds["invariant_error"].max() < 1e-6
    for key in ("devices", "staleness"):
        assert again.summary["methods"][0][key] == whole.summary["methods"][0][key]
    assert timeline(tmp_path / "run").equals(timeline(tmp_path / "whole"))


def test_under_faults_g_stays_the_sum(devices: Told) -> None:
    result = scenarios.run(wanted(devices(), rounds=40, chaos="late=10%,duplicate=10%,wipe=3%,lose-reply=5%"))
    assert result.rounds["invariant_error"].max() < 1e-6
    assert result.summary["methods"][0]["status"] == "finished"


def test_a_late_reply_is_added_in_the_round_in_which_it_arrives_unless_its_client_was_asked_again(
    devices: Told, tmp_path: Path
) -> None:
    train = {"timeout": 1.0, "late": "apply", "participation": 0.5, "start": "zero"}
    result = scenarios.run(wanted(devices(0.01, 0.01, 1.5), train=train, rounds=30), out=tmp_path / "run")
    rows = timeline(tmp_path / "run")
    assert result.rounds["invariant_error"].max() < 1e-6
    later, dropped = rows[rows["fate"] == "later"], rows[rows["fate"] == "late"]
    assert len(later) > 3 and len(dropped) > 3
    over = result.rounds.set_index("round")["virtual_seconds"]
    for _, row in later.iterrows():
        assert (
            over[row["used_round"] - 1] < row["arrives"] <= over[row["used_round"]] and row["round"] < row["used_round"]
        )
    for _, row in dropped.iterrows():
        mine = rows[(rows["client"] == row["client"]) & (rows["round"] > row["round"])]["round"]
        assert over[mine.min() - 1] < row["arrives"]


def test_with_a_downlink_who_is_stale_is_sent_what_it_lacks(devices: Told) -> None:
    method = ALL_METHODS[4] | {"downlink": "topk:0.2"}
    result = scenarios.run(wanted(devices(), rounds=25, method=[method]))
    assert result.rounds["invariant_error"].max() < 1e-6 and result.summary["methods"][0]["rejected"] == 0


def test_virtual_seconds_end_a_run(devices: Told) -> None:
    result = scenarios.run(wanted(devices(), rounds=200, stop={"virtual_seconds": 20.0}))
    method = result.summary["methods"][0]
    assert method["status"] == "stopped" and method["reason"].startswith("virtual_seconds reached 2")
    assert method["rounds"] < 200


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"mode": "buffered"}, "train.buffer is missing"),
        ({"buffer": 3}, "train.buffer = 3: has no meaning in synchronous rounds"),
        ({"mode": "buffered", "buffer": 7, "concurrency": 6}, "6 clients are at work at once"),
        ({"mode": "buffered", "buffer": 3, "concurrency": 99}, "there are 12 clients"),
        ({"mode": "buffered", "buffer": 3, "over_selection": 1.5}, "train.over_selection"),
        ({"mode": "buffered", "buffer": 3, "late": "discard"}, "train.late"),
        ({"mode": "buffered", "buffer": 3, "concurrency": 6, "participation": 0.5}, "train.participation = 0.5"),
    ],
)
def test_what_cannot_be_is_refused_with_the_cure(train: dict[str, Any], told: str, devices: Told) -> None:
    with pytest.raises((ScenarioError, ValueError), match=told):
        wanted(devices(), train=train)


def test_without_devices_nobody_knows_who_is_first(devices: Told) -> None:
    with pytest.raises(InputError, match=r"train\.mode = 'buffered': in a simulation needs \[devices\]"):
        scenarios.run(scenario(train=BUFFERED))
    with pytest.raises((ScenarioError, ValueError), match="there is no virtual time without"):
        scenario(stop={"virtual_seconds": 3.0})
