"""Who is left behind: in the folder, the summary and the tables; the same however a run was cut."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import scenarios
from fl_ef21.devices.profile import Device, save
from fl_ef21.each import Each
from fl_ef21.errors import InputError
from scenarios import compare, fairness
from scenarios.commands.table import final_figures
from scenarios.fairness import Clients, figures
from scenarios.fairness_file import COLUMNS, FairnessFile, read
from scenarios.loading import load
from scenarios.progress import Progress, Silent
from scenarios.runner import resume
from scenarios.setup import prepare
from tests.own_files import digits_in_files
from tests.small import ALL_METHODS, SPARSE, scenario


def some(n: int, **changes: Any) -> Clients:
    ramp = np.arange(n, dtype=float)
    given: dict[str, Any] = {
        "each": Each(1 + ramp, ramp, ramp / n, np.full(n, np.nan)), "asked": np.full(n, 5), "used": np.arange(n),
        "kinds": (), "step_seconds": np.full(n, np.nan),
    }  # fmt: skip
    return Clients(**(given | changes))


def test_figures_of_a_ramp_are_as_written_out() -> None:
    found = figures(some(20))
    assert found["of"] == "accuracy" and found["test_accuracy"] is None
    assert found["worst_decile"] == found["accuracy"]["worst_decile"] == 0.5 / 20
    assert found["loss"]["worst_decile"] == 18.5 and found["loss"]["best_decile"] == 0.5
    assert found["correlation_with_participation"] == {"loss": 1.0, "accuracy": 1.0, "test_accuracy": None}
    assert found["correlation_with_step_seconds"]["loss"] is None
    quarters = [(group["size"], group["clients"], group["samples"], group["loss"]) for group in found["by_size"]]
    assert quarters == [
        ("smallest", 5, [1, 5], 2.0), ("small", 5, [6, 10], 7.0), ("large", 5, [11, 15], 12.0),
        ("largest", 5, [16, 20], 17.0),
    ]  # fmt: skip


def test_classes_of_devices_have_a_row_each() -> None:
    steps = np.where(np.arange(6) % 2, 9.0, 1.0)
    found = figures(some(6, kinds=("quick", "slow") * 3, step_seconds=steps))
    told = [(row["class"], row["clients"], row["used"], row["loss"]) for row in found["by_class"]]
    assert told == [("quick", 3, 6, 2.0), ("slow", 3, 9, 3.0)]
    assert found["correlation_with_step_seconds"]["loss"] == pytest.approx(4.5 / np.sqrt(17.5 * 13.5))


def test_where_all_have_as_many_samples_there_are_no_quarters() -> None:
    e = some(8).each
    assert figures(some(8, each=Each(np.full(8, 3.0), e.loss, e.accuracy, e.test_accuracy)))["by_size"] == []


def test_what_cannot_be_a_number_is_no_number_in_the_file() -> None:
    lost = figures(some(4, each=Each.nothing(4)))
    assert lost["of"] == "loss" and lost["worst_decile"] is None and lost["by_size"] == []
    json.dumps(lost, allow_nan=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> scenarios.Result:
    changed: dict[str, Any] = {"partition": {"scheme": "dirichlet"}, "train": {"participation": 0.5}}
    methods = [ALL_METHODS[4], {"name": "ef21-sgd", "gamma": 0.1} | SPARSE]
    return scenarios.run(
        scenario(**changed, method=methods, evaluate={"every": 3, "fairness": "rounds"}),
        out=tmp_path_factory.mktemp("fairness") / "run",
    )


def test_every_client_has_a_row_that_is_its_own_model_measured_again(ran: scenarios.Result) -> None:
    assert ran.folder is not None
    setup = prepare(scenario(partition={"scheme": "dirichlet"}, train={"participation": 0.5}))
    tensors = load_file(ran.folder / "models" / "ef21-sgdm.safetensors")
    x = torch.cat([tensors[name].flatten() for name, _ in setup.problem.shapes])
    sums = setup.problem.sums(x, torch.arange(12)).numpy()
    table = ran.fairness("ef21-sgdm")
    assert table["loss"].to_numpy() == pytest.approx(sums[:, 1] / sums[:, 0], rel=1e-12)
    assert table["samples"].tolist() == sums[:, 0].tolist() and table["accuracy"].between(0, 1).all()
    assert tuple(read(ran.folder).columns) == COLUMNS


def test_who_was_asked_and_used_is_counted(ran: scenarios.Result) -> None:
    table = ran.fairness("ef21-sgd")
    assert table["used"].sum() == 12 + 5 * 6 and (table["used"] == table["asked"]).all()  # all begin
    assert table["asked"].tolist() == ran.traffic("ef21-sgd")["asked"].tolist()


def test_the_mean_over_samples_is_the_training_loss(ran: scenarios.Result) -> None:
    table, (last,) = ran.fairness("ef21-sgdm"), ran.of("ef21-sgdm")["train_loss"].tail(1)
    assert table["loss"].mean() == pytest.approx(last, rel=1e-9)


def test_rows_tell_the_worst_decile_where_it_is_asked_for(ran: scenarios.Result) -> None:
    rows, end = ran.of("ef21-sgdm"), ran.summary["methods"][0]["fairness"]
    assert rows["worst_decile_accuracy"].iloc[-1] == end["worst_decile"] and rows["jain_accuracy"].notna().all()
    assert rows["worst_decile_loss"].iloc[-1] == end["loss"]["worst_decile"] > rows["train_loss"].iloc[-1]


def test_tables_show_the_worst_decile(ran: scenarios.Result, tmp_path: Path) -> None:
    told = ran.table()
    assert told["worst_decile_accuracy"].tolist() == [m["fairness"]["worst_decile"] for m in ran.summary["methods"]]
    assert "worst decile" in final_figures(ran.summary["methods"])
    assert ran.folder is not None
    both = compare.table([ran.folder, ran.folder])["worst_decile_accuracy"].tolist()
    assert both == 2 * told["worst_decile_accuracy"].tolist()
    assert f">{both[0]:.1%}".replace("%", " %") in compare.compare([ran.folder], tmp_path / "page.html").read_text()


def test_a_problem_without_samples_has_losses_alone(tmp_path: Path) -> None:
    result = scenarios.run(scenario(model={"name": "quadratic", "bias": None}, rounds=2), out=tmp_path / "run")
    found = result.summary["methods"][0]["fairness"]
    assert found["of"] == "loss" and found["accuracy"] is None and found["loss"]["clients"] == 12
    assert "worst decile" not in final_figures(result.summary["methods"])


def test_off_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.training.each", None)
    result = scenarios.run(scenario(rounds=1, evaluate={"fairness": "off"}), out=tmp_path / "run")
    assert result.summary["methods"][0]["fairness"] is None
    with pytest.raises(InputError, match=r'evaluate\.fairness = "end" keeps it'):
        result.fairness("ef21-sgdm")


def test_clients_that_measure_tell_their_own(tmp_path: Path) -> None:
    result = scenarios.run(scenario(rounds=2, evaluate={"where": "clients"}), out=tmp_path / "run")
    table = result.fairness("ef21-sgdm")
    assert table["loss"].mean() == pytest.approx(result.rounds["train_loss"].iloc[-1], rel=1e-9)
    assert table["accuracy"].isna().all() and table["test_accuracy"].isna().all()


def test_clients_with_test_samples_of_their_own_tell_of_them(tmp_path: Path) -> None:
    digits_in_files(tmp_path / "data", 3)
    data = {"source": "files", "path": str(tmp_path / "data"), "shape": [1, 8, 8], "classes": 10, "test_fraction": 0.2}
    partition, evaluate = {"clients": 3, "scheme": "natural"}, {"where": "clients"}
    result = scenarios.run(scenario(rounds=2, data=data, partition=partition, evaluate=evaluate), out=tmp_path / "run")
    assert result.fairness("ef21-sgdm")["test_accuracy"].notna().all()


def test_a_slow_class_is_told_apart_and_correlated(tmp_path: Path) -> None:
    quick = Device("a", 0.01, 1e6, 1e6, kind="quick")
    save(tmp_path / "two.toml", [quick, Device("b", 50.0, 1e6, 1e6, kind="slow")])
    devices = {"profile": str(tmp_path / "two.toml")}
    result = scenarios.run(
        scenario(rounds=4, devices=devices, train={"timeout": 20.0, "start": "zero"}), out=tmp_path / "run"
    )
    quick_row, slow_row = result.summary["methods"][0]["fairness"]["by_class"]
    assert (quick_row["used"], slow_row["used"]) == (24, 0) and slow_row["loss"] > quick_row["loss"]
    assert set(result.fairness("ef21-sgdm")["device_class"]) == {"quick", "slow"}


def test_methods_of_an_earlier_start_keep_their_figures(tmp_path: Path) -> None:
    first = FairnessFile(tmp_path)
    for number in (0, 1):
        first.method(number, f"m{number}", some(4 + number))
    first.close()
    again = FairnessFile(tmp_path)
    again.keep(1)
    assert again.figures == {0: first.figures[0]} and not (tmp_path / "fairness.parquet").exists()
    again.method(1, "m1", some(7))
    again.close()
    again.clear()
    assert read(tmp_path)["method"].value_counts().to_dict() == {"m0": 4, "m1": 7}
    assert [path.name for path in tmp_path.iterdir()] == ["fairness.parquet"]


@pytest.mark.nightly
def test_figures_do_not_depend_on_the_number_of_actors(tmp_path: Path) -> None:
    found = []
    for actors in (0, 1, 2):
        asked = scenario(method=ALL_METHODS[4:5], train={"participation": 0.5}, engine={"actors": actors})
        scenarios.run(asked, out=tmp_path / str(actors))
        found.append(read(tmp_path / str(actors)))
    assert found[0].equals(found[1]) and found[0].equals(found[2])


def test_the_scenario_leaves_who_is_slow_behind_until_it_waits(tmp_path: Path) -> None:
    short = ["engine.actors=0", "rounds=12", "evaluate.fairness=end"]
    for timeout, left_behind in ((2, True), (10, False)):
        out = tmp_path / str(timeout)
        result = scenarios.run(load("fairness", [*short, f"train.timeout={timeout}"]), out=out)
        for method in result.summary["methods"]:
            old, phone = method["fairness"]["by_class"]
            assert (old["used"] == 0) == left_behind and phone["used"] == phone["asked"]
            assert (method["worst_decile_accuracy"] == 0) == left_behind


@pytest.mark.nightly
def test_late_replies_bring_who_is_slow_back_where_the_server_remembers(tmp_path: Path) -> None:
    asked = load("fairness", ["engine.actors=0", "train.participation=0.5", "train.late=apply"])
    forgets, remembers = scenarios.run(asked, out=tmp_path / "run").summary["methods"]
    assert (forgets["label"], remembers["label"]) == ("sgdm", "ef21-sgdm")
    assert all(0 < m["fairness"]["by_class"][0]["used"] < 60 for m in (forgets, remembers))
    assert forgets["worst_decile_accuracy"] < 0.1 and remembers["worst_decile_accuracy"] > 0.7


class Impatient(Silent):
    """Presses Ctrl-C in round 3 of the second method."""

    def round(self, progress: Progress) -> None:
        if (progress.method_number, progress.round) == (1, 3):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    ("durability", "runtime"),
    [
        ("disk", "resident"),
        pytest.param("memory", "resident", marks=pytest.mark.nightly),
        pytest.param("disk", "flower", marks=pytest.mark.nightly),
    ],
)
def test_a_run_that_was_stopped_counts_and_measures_as_if_it_had_not_been(
    tmp_path: Path, durability: str, runtime: str
) -> None:
    asked = scenario(method=ALL_METHODS[3:5], train={"participation": 0.5}, durability=durability)
    scenarios.run(asked, out=tmp_path / "whole")
    stopped = scenarios.run(asked, out=tmp_path / "run", listener=Impatient(), runtime=runtime)
    assert stopped.summary["methods"][1]["fairness"]["loss"]["clients"] == 12
    resume(tmp_path / "run")
    whole, again = read(tmp_path / "whole"), read(tmp_path / "run")
    counts, figures = ["method", "client", "asked", "used"], ["loss", "accuracy", "test_accuracy"]
    assert whole[counts].equals(again[counts]) and whole["used"].sum() == 2 * (12 + 5 * 6)
    if runtime == "resident":
        assert whole.equals(again)
    else:  # clients one at a time round otherwise
        assert again[figures].to_numpy() == pytest.approx(whole[figures].to_numpy(), rel=1e-4)


def test_rows_without_figures_say_so() -> None:
    assert set(fairness.round_figures(None)) == set(fairness.ROUND)
    assert set(fairness.round_figures(None).values()) == {None}
