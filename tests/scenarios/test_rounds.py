"""What a scenario may demand of its rounds, and runs that are paused as too few clients answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

import scenarios
from fl_ef21.failpoints import arm
from scenarios.cli import app
from scenarios.commands.failures import Code
from scenarios.loading import to_toml
from scenarios.runner import resume
from tests.small import scenario


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"min_reports": 7, "participation": 0.5}, r"train.min_reports = 7: a round wants 6 of 12 clients; at most 6"),
        ({"over_selection": 1.1}, r"over_selection = 1.1: would ask 14 of 12 clients for 12 replies; a smaller"),
        ({"over_selection": 3.0, "participation": 0.5}, r"would ask 18 of 12 clients for 6 replies; at most 2"),
        ({"over_selection": 0.9}, "greater than or equal to 1"),
        ({"start_clients": 13}, r"train.start_clients = 13: there are 12 clients; at most 12"),
        ({"start_clients": 2, "min_reports": 3}, r"start_clients = 2: a round needs min_reports = 3; at least 3"),
    ],
)
def test_what_so_many_clients_cannot_meet_is_refused_by_name(train: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        scenario(train=train)


def test_what_they_can_meet_is_not() -> None:
    train = {"participation": 0.5, "min_reports": 6, "over_selection": 2.0, "start_clients": 6}
    assert scenario(train=train).train.min_reports == 6


def test_over_selection_alone_changes_no_figure_but_bytes() -> None:
    alone, many = (
        scenarios.run(scenario(train={"participation": 0.5, "over_selection": factor})) for factor in (1.0, 1.5)
    )
    for column in ("train_loss", "grad_norm_sq", "participants", "rejected", "abandoned"):
        assert alone.rounds[column].tolist() == many.rounds[column].tolist(), column
    assert many.summary["methods"][0]["surplus_replies"] == 5 * 3  # in round 1 everybody is asked
    assert many.rounds["uplink_bytes"].iloc[-1] > alone.rounds["uplink_bytes"].iloc[-1]


# Runs that are paused -------------------------------------------------------------------------------

SHORT = {"train": {"participation": 0.5, "min_reports": 5}, "chaos": "lose=45%", "rounds": 40, "evaluate": {"every": 1}}


def paused_run(durability: str) -> Any:
    return scenario(**SHORT, durability=durability)


@pytest.mark.parametrize("durability", ["memory", "disk"])
def test_a_run_with_too_few_replies_is_paused_and_goes_on_from_there(tmp_path: Path, durability: str) -> None:
    out = tmp_path / "run"
    result = scenarios.run(paused_run(durability), out=out)
    (method,) = result.summary["methods"]
    assert result.summary["status"] == method["status"] == "interrupted"
    assert method["reason"].startswith("no quorum: 3 rounds in a row, the last of them ")
    at, abandoned = method["rounds"], method["abandoned_rounds"]
    assert result.rounds["participants"].tolist()[-3:] == [0, 0, 0]
    assert result.rounds["abandoned"].iloc[-1] == abandoned >= 3
    assert result.rounds["train_loss"].nunique() == at + 1 - abandoned  # the model stood still
    assert "abandoned" in (out / "report.html").read_text()
    further = resume(out)
    assert further.summary["methods"][0]["rounds"] > at
    assert further.rounds["round"].tolist() == list(range(len(further.rounds)))
    assert further.rounds["invariant_error"].max() < 1e-6


def test_a_durable_run_that_is_killed_after_an_abandoned_round_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = scenarios.run(paused_run("disk"), out=tmp_path / "whole")
    at = whole.summary["methods"][0]["rounds"]
    with arm(f"training.round:raise:{at}"), pytest.raises(Exception, match="failpoint"):
        scenarios.run(paused_run("disk"), out=tmp_path / "killed")
    ended = resume(tmp_path / "killed")
    kept = whole.rounds[["round", "train_loss", "abandoned", "participants"]]
    assert ended.rounds[list(kept.columns)].iloc[: len(kept)].reset_index(drop=True).equals(kept.reset_index(drop=True))


def test_the_command_tells_so_with_an_exit_code_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "short.toml").write_text(to_toml(paused_run("disk")))
    done = CliRunner().invoke(app, ["run", str(tmp_path / "short.toml"), "--out", str(tmp_path / "run")])
    assert done.exit_code == Code.NO_QUORUM
    assert "no quorum: 3 rounds in a row" in done.stderr and "go on with: fl-ef21 resume" in done.stderr
