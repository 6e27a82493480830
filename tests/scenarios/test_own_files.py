"""Clients with files of their own: simulated, and on devices beside a server without any, the run is the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from fl_ef21 import signing
from fl_ef21.errors import InputError
from fl_ef21.sealing import ServerKeys
from scenarios import apps, compare
from scenarios.auditing import audit
from scenarios.commands.table import final_figures
from scenarios.loading import ScenarioError, parse, to_toml
from scenarios.measuring import measure
from scenarios.results import Result
from scenarios.runner import RunFailed, serve
from scenarios.samples import Own
from scenarios.schema import Scenario
from scenarios.setup import prepare
from tests.device_grid import DeviceGrid
from tests.own_files import digits_in_files
from tests.small import ALL_METHODS, scenario

N = 4
SAME = ["round", "test_accuracy", "uplink_bytes", "downlink_bytes", "participants", "rejected"]
FORM = {"source": "files", "shape": [1, 8, 8], "classes": 10}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return digits_in_files(tmp_path_factory.mktemp("own") / "files", N)


def some(files: Sequence[Path] | None = None, data: Mapping[str, Any] | None = None, **changes: Any) -> Scenario:
    """Of devices, or simulated where `files` are given."""
    told = FORM | ({} if files is None else {"path": str(files[0].parent)}) | dict(data or {})
    clients = {"clients": N, "scheme": "natural"} | changes.pop("partition", {})
    return scenario(data=told, partition=clients, **changes)


def devices(asked: Scenario, files: Sequence[Path], states: Path) -> DeviceGrid:
    """A node for each file, which is all of the data that it has."""
    nodes = [
        {"partition-id": i, "data-path": str(file), "state-dir": str(states / str(i))} for i, file in enumerate(files)
    ]
    return DeviceGrid(apps.client, nodes, {"scenario": str(written(asked, states)), "state-dir": ""})


def written(asked: Scenario, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scenario.toml").write_text(to_toml(asked))
    return folder / "scenario.toml"


def deployed(asked: Scenario, files: Sequence[Path], folder: Path) -> Result:
    grid: Any = devices(asked, files, folder / "states")
    return serve(prepare(asked, alone=True, elsewhere=True), grid, folder / "run", "flwr run")


METHODS = [ALL_METHODS[5], ALL_METHODS[3] | {"downlink": "topk:0.3", "label": "down"}]


def test_devices_with_a_file_each_and_a_server_without_any_reach_what_is_simulated(
    files: list[Path], tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "method": METHODS, "train": {"dtype": "float64", "participation": 0.6}, "data": {"test_fraction": 0.2},
        "model": {"regularizer": 0.01},
    }  # fmt: skip
    ours, theirs = scenarios.run(some(files, **changes)), deployed(some(**changes), files, tmp_path)
    assert theirs.summary["status"] == "finished"
    for column in SAME:
        assert list(ours.rounds[column]) == list(theirs.rounds[column]), column
    assert np.allclose(ours.rounds["train_loss"], theirs.rounds["train_loss"], rtol=1e-12)
    assert theirs.rounds["evaluated"].tolist() == [N] * 8 and ours.rounds["evaluated"].isna().all()
    assert theirs.rounds["grad_norm_sq"].isna().all() and ours.rounds["grad_norm_sq"].notna().all()
    assert theirs.rounds["invariant_error"].max() < 1e-12 and ours.rounds["test_accuracy"].max() > 0.1


@pytest.mark.parametrize("data", ["files", "digits"])
def test_who_measures_changes_neither_the_run_nor_what_is_measured(data: str, files: list[Path]) -> None:
    asked = [
        (some(files, train={"participation": 0.5}, evaluate={"where": where}) if data == "files" else
         scenario(partition={"clients": N}, train={"participation": 0.5}, evaluate={"where": where}))
        for where in ("server", "clients")
    ]  # fmt: skip
    server, clients = (scenarios.run(one).rounds for one in asked)
    for column in (*SAME, "invariant_error"):
        assert server[column].equals(clients[column]), column
    assert np.allclose(server["train_loss"], clients["train_loss"], rtol=1e-12)


def test_what_clients_measure_is_in_the_account_beside_the_rounds(files: list[Path]) -> None:
    server, clients = (
        scenarios.run(some(files, evaluate={"where": where})).summary["methods"][0] for where in ("server", "clients")
    )
    layers = ("uplink", "downlink")
    assert all(server["traffic"][way] == clients["traffic"][way] for way in layers)
    extra = [
        clients["traffic"]["asides"][f"{way}_wire_bytes"] - server["traffic"]["asides"][f"{way}_wire_bytes"]
        for way in layers
    ]
    model = server["downlink_bytes"] / (N * 6)
    assert extra[1] > 4 * N * model and extra[0] > 4 * N * 32  # four evaluations: the model down, four numbers up


@pytest.mark.parametrize("model", [{"name": "mlp", "bias": None}, {"name": "cnn", "bias": None}, {}])
def test_the_start_and_the_shapes_do_not_depend_on_where_the_samples_are(
    model: dict[str, Any], files: list[Path]
) -> None:
    everybody = prepare(some(files, model=model), alone=True)
    nobody = prepare(some(model=model), alone=True, elsewhere=True)
    device = prepare(some(model=model), alone=True, own=Own(2, str(files[2])))
    for other in (nobody, device):
        assert torch.equal(other.problem.x0(), everybody.problem.x0())
        assert other.problem.shapes == everybody.problem.shapes and other.source == everybody.source
        assert torch.equal(other.problem.weights, everybody.problem.weights)


def test_a_device_holds_its_own_samples_alone_and_computes_what_the_simulation_does(files: list[Path]) -> None:
    everybody: Any = prepare(some(files), alone=True).problem
    device: Any = prepare(some(), alone=True, own=Own(2, str(files[2]))).problem
    assert len(device.features) == int(everybody.sizes[2]) and device.sizes.tolist()[:2] == [0, 0]
    x, two = everybody.x0() + 0.1, torch.tensor([2])
    assert torch.equal(device.gradients(x, two, 5), everybody.gradients(x, two, 5))
    assert torch.equal(device.sums(x, two), everybody.sums(x, two))


def test_a_device_that_stays_up_reads_its_file_again_for_the_next_run(files: list[Path], tmp_path: Path) -> None:
    mine, samples = tmp_path / "mine.npz", dict(np.load(files[0]))
    np.savez(mine, **samples)
    (context,) = devices(some(), [mine], tmp_path).contexts
    before: Any = apps._device(context).problem
    np.savez(mine, **samples | {"x": samples["x"] / 2})
    assert apps._device(context).problem is before  # of one run
    after: Any = apps._device(replace(context, run_id=2)).problem
    assert torch.equal(before.features / 2, after.features)
    apps._device(replace(context, run_id=3))
    assert apps._device(context).problem is not before  # the data of two runs are kept loaded, not of three


def test_a_device_that_is_silent_is_left_out_of_what_is_measured(files: list[Path], tmp_path: Path) -> None:
    grid: Any = devices(some(), files, tmp_path)
    setup = prepare(some(), alone=True, elsewhere=True)
    strategy = setup.strategy(0, b"run")
    strategy.nodes.enrol(grid)
    grid.silent = {2}
    found, everybody = measure(setup, strategy, grid), prepare(some(files), alone=True).problem
    assert found.evaluated == N - 1 and found.grad_norm_sq is None
    sums = everybody.sums(everybody.x0(), torch.tensor([0, 2, 3]))
    assert found.train_loss == pytest.approx(float((sums[:, 1] / sums[:, 0]).mean()), rel=1e-12)


def test_a_device_that_lost_its_state_still_measures(files: list[Path], tmp_path: Path) -> None:
    grid: Any = devices(some(), files, tmp_path)
    setup = prepare(some(), alone=True, elsewhere=True)
    strategy = setup.strategy(0, b"run")
    for _ in strategy.rounds(grid, 2):
        pass
    for file in (tmp_path / "0").rglob("*"):
        if file.is_file():
            file.unlink()
    assert measure(setup, strategy, grid).evaluated == N


def test_evaluations_are_signed_where_messages_are_and_a_changed_one_is_not_counted(
    files: list[Path], tmp_path: Path
) -> None:
    for name in ("server", *(f"client-{i}" for i in range(N))):
        signing.make(tmp_path / f"{name}.key", tmp_path / f"{name}.pub")
    grid: Any = devices(some(), files, tmp_path / "states")
    for i, context in enumerate(grid.contexts):
        context.node_config |= {
            "message-key": str(tmp_path / f"client-{i}.key"),
            "server-key": str(tmp_path / "server.pub"),
        }
    setup = replace(prepare(some(), alone=True, elsewhere=True), keys=ServerKeys.load(tmp_path, N))
    strategy = setup.strategy(0, b"run")
    strategy.nodes.enrol(grid)
    assert measure(setup, strategy, grid).evaluated == N
    grid.contexts[3].node_config["message-key"] = str(tmp_path / "client-0.key")
    assert measure(setup, strategy, grid).evaluated == N - 1


def test_a_server_with_test_samples_of_its_own_measures_the_accuracy(files: list[Path], tmp_path: Path) -> None:
    asked = some(data={"test_path": str(files[0])})
    found = deployed(asked, files, tmp_path)
    want = scenarios.run(some(files, data={"test_path": str(files[0])}))
    assert list(found.rounds["test_accuracy"]) == list(want.rounds["test_accuracy"])


def test_a_run_without_gradient_norms_is_reported_compared_and_printed(files: list[Path], tmp_path: Path) -> None:
    asked = some(files, method=[ALL_METHODS[0], ALL_METHODS[4]], evaluate={"where": "clients"})
    found = scenarios.run(asked, out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Training loss" in page and "Squared gradient norm" not in page and 'data-goal="grad_norm_sq"' not in page
    assert compare.table([tmp_path / "run"])["bytes_to_grad_norm_sq"].isna().all()
    assert compare.compare([tmp_path / "run"], tmp_path / "page.html").is_file()
    assert "sgdm" in final_figures(found.summary["methods"])
    line = json.loads((tmp_path / "run" / "rounds.jsonl").read_text().splitlines()[-1])
    assert line["grad_norm_sq"] is None and line["evaluated"] == N


def test_a_model_that_leaves_all_numbers_is_found_by_clients_too() -> None:
    asked = scenario(model={"name": "quadratic", "bias": None}, method=[{"name": "sgdm", "gamma": 1e10, "eta": 1.0}],
                     evaluate={"where": "clients", "every": 1})  # fmt: skip
    method = scenarios.run(asked).summary["methods"][0]
    assert method["status"] == "diverged" and method["reason"].startswith("the training loss is not finite at round")


def test_a_durable_run_is_audited_where_the_samples_are_not(files: list[Path], tmp_path: Path) -> None:
    deployed(some(durability="disk"), files, tmp_path)
    checks = audit(tmp_path / "run")
    assert checks and all(check.good for check in checks), checks


# Refused


def refused(told: str, asked: Scenario, **how: Any) -> None:
    with pytest.raises(InputError, match=told):
        prepare(asked, alone=True, **how)


def test_what_needs_samples_that_lie_elsewhere_is_refused() -> None:
    refused(
        "evaluate.where = 'server': the server holds no samples", some(evaluate={"where": "server"}), elsewhere=True
    )
    refused(
        "train.weights = 'samples': the server holds no samples", some(train={"weights": "samples"}), elsewhere=True
    )
    refused("stop.grad_norm_sq = 0.1: needs the full gradient", some(stop={"grad_norm_sq": 0.1}), elsewhere=True)
    attack = {"name": "alie", "clients": 1}
    refused("attack.name = 'alie': needs the samples of all attackers", some(attack=attack), elsewhere=True)
    refused("data.path = None: is needed by the source 'files'", some())


def test_a_folder_of_another_number_of_files_is_refused(files: list[Path]) -> None:
    more = some(files, partition={"clients": N + 1})
    refused("partition.clients = 5: but there are files of 4 clients", more)
    refused("partition.clients = 5: but there are files of 4 clients", more, elsewhere=True)


def test_a_client_with_too_few_samples_is_told(files: list[Path]) -> None:
    few = {"clients": N, "min_samples": 500}
    refused("partition.min_samples = 500: client 0 has", some(files, partition=few))
    refused("partition.min_samples = 500: client 2 has", some(partition=few), own=Own(2, str(files[2])))


def test_a_file_for_a_scenario_that_has_no_use_for_it_is_refused(files: list[Path]) -> None:
    own = Own(0, str(files[0]))
    told = "node-config.data-path = .*: has no meaning with data.source = 'digits'.*partition-id; remove it"
    refused(told, scenario(), own=own)
    quadratic = scenario(model={"name": "quadratic", "bias": None})
    refused("node-config.data-path = .*: has no meaning with the model 'quadratic'", quadratic, own=own)
    refused("node-config.partition-id = 9: the scenario has 4 clients", some(), own=Own(9, str(files[0])))


def test_a_device_that_was_told_of_no_file_says_so_as_it_enrols(files: list[Path], tmp_path: Path) -> None:
    grid: Any = devices(some(), files, tmp_path / "states")
    del grid.contexts[1].node_config["data-path"]
    with pytest.raises(RunFailed, match=r"node-config.data-path = None: is needed: this client's file of samples"):
        serve(prepare(some(), alone=True, elsewhere=True), grid, tmp_path / "run", "flwr run")


def test_a_scheme_beside_files_is_refused_and_none_is_natural() -> None:
    text = 'name = "a"\nrounds = 1\nmethod = [{name = "sgdm", gamma = 0.1}]\n[data]\nsource = "files"\n[partition]\n'
    with pytest.raises(ScenarioError, match=r"partition.scheme = 'iid' has no meaning where every client has its own"):
        parse(text + 'scheme = "iid"\n')
    assert parse(text).partition.scheme == parse(to_toml(parse(text))).partition.scheme == "natural"


def test_a_gradient_norm_that_clients_cannot_tell_stops_nothing() -> None:
    text = 'name = "a"\nrounds = 1\nmethod = [{name = "sgdm", gamma = 0.1}]\n[stop]\ngrad_norm_sq = 0.1\n'
    with pytest.raises(ScenarioError, match=r"stop.grad_norm_sq = 0.1 needs the full gradient, which clients do not"):
        parse(text + '[evaluate]\nwhere = "clients"\n')
    assert parse(text).stop.grad_norm_sq == 0.1


def test_the_scenario_of_the_page_runs_and_its_errors_are_told_as_they_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "own-data.md").read_text()
    monkeypatch.chdir(tmp_path)
    digits_in_files(tmp_path / "data", 3)
    asked = parse(page.split("```toml\n")[1].split("```")[0], ["rounds=1", "engine.actors=0"])
    assert scenarios.run(asked).summary["status"] == "finished"
    (tmp_path / "data" / "client-1.csv").unlink()
    x, y = (np.load(tmp_path / "data" / "client-0.npz")[name] for name in "xy")
    np.savez(tmp_path / "range.npz", x=x, y=np.where(np.arange(len(y)) == 7, 10, 0))
    np.savez(tmp_path / "width.npz", x=x.reshape(-1, 64)[:, 1:], y=y)
    (tmp_path / "a.csv").write_text("label,humidity\n" + "1,2\n" * 16 + "1,n/a\n")
    names = ("a.csv", "range.npz", "width.npz")
    said = [caught(asked), *(caught(asked, own=Own(0, str(tmp_path / name))) for name in names)]
    lines = page.split("```text\n")[1].split("```")[0].replace("/home/me", str(tmp_path)).splitlines()
    for line, one, name in zip(lines, said, ("", *names), strict=True):
        assert re.sub(r"/home/pi/samples\.\w+", f"{tmp_path}/{name}", line) == one


def caught(asked: Scenario, **how: Any) -> str:
    with pytest.raises(InputError) as error:
        prepare(asked, alone=True, **how)
    return str(error.value)
