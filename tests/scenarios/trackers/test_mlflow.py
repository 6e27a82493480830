"""MLflow holds a run for each method; in a run that goes on, the same ones."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import scenarios
from scenarios.trackers import Run
from scenarios.trackers.mlflow import MLflow
from tests.small import ALL_METHODS, scenario


class Client:
    """What the tracker asks of MLflow, in memory."""

    kept: ClassVar[dict[str, dict[str, Any]]] = {}

    def __init__(self, tracking_uri: str) -> None:
        self.uri = tracking_uri

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return f"experiment {name}"

    def search_runs(self, experiments: list[str], filter_string: str, max_results: int) -> list[Any]:
        return [
            _plain(info=_plain(run_id=key), data=_plain(tags=run["tags"]))
            for key, run in self.kept.items()
            if f"'{run['tags']['fl_ef21.run']}'" in filter_string
        ]

    def create_run(self, experiment: str, tags: dict[str, str], run_name: str) -> Any:
        self.kept[key := str(len(self.kept))] = {"tags": tags, "name": run_name, "metrics": [], "params": {}}
        return _plain(info=_plain(run_id=key))

    def update_run(self, run_id: str, status: str) -> None:
        self.kept[run_id]["status"] = status

    def set_terminated(self, run_id: str, status: str) -> None:
        self.kept[run_id]["status"] = status

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(params) <= 100
        self.kept[run_id]["metrics"] += metrics
        self.kept[run_id]["params"] |= dict(params)


def _plain(**fields: Any) -> Any:
    return type("Plain", (), fields)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    package, tracking, entities = (ModuleType(name) for name in ("mlflow", "mlflow.tracking", "mlflow.entities"))
    Client.kept = {}
    tracking.MlflowClient = Client  # type: ignore[attr-defined]
    entities.Metric = entities.Param = lambda *values: values  # type: ignore[attr-defined]
    for module in (package, tracking, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")  # so that what the tracker sets goes away with the test
    return Client.kept


def test_every_method_is_a_run_with_its_settings_and_figures(kept: dict[str, Any], tmp_path: Path) -> None:
    tracker = MLflow("http://somewhere")
    result = scenarios.run(scenario(method=ALL_METHODS[3:5]), out=tmp_path / "run", trackers=[tracker])
    assert [run["name"] for run in kept.values()] == ["ef21-sgd", "ef21-sgdm"]
    assert {run["status"] for run in kept.values()} == {"FINISHED"}
    momentum = kept["1"]
    assert [run["params"]["method.name"] for run in kept.values()] == ["ef21-sgd", "ef21-sgdm"]
    assert momentum["params"]["method.eta"] == "0.3" and momentum["params"]["train.batch_size"] == "2"
    losses = [(step, value) for key, value, _, step in momentum["metrics"] if key == "train_loss"]
    rows = result.of("ef21-sgdm")
    assert losses == list(zip(rows["round"], rows["train_loss"], strict=True))


def test_a_run_that_goes_on_finds_its_own(kept: dict[str, Any], tmp_path: Path) -> None:
    for identity, resumed in (("aa", False), ("bb", False), ("aa", True)):
        told = {"method": [{"name": "m"}], "train": {"batch_size": 2}}
        MLflow("http://somewhere").start(Run("small", identity, tmp_path, told, ("m",), resumed))
    assert [run["tags"]["fl_ef21.run"] for run in kept.values()] == ["aa", "bb"]
    assert kept["0"]["status"] == "RUNNING" and "status" not in kept["1"]


@pytest.mark.nightly
def test_the_real_package_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="needs pip install 'fl-ef21[mlflow]'")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for name in ("MLFLOW_DISABLE_TELEMETRY", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    from mlflow.tracking import MlflowClient

    where = f"file://{tmp_path / 'mlruns'}"
    result = scenarios.run(scenario(), out=tmp_path / "run", trackers=[MLflow(where)])
    client: Any = MlflowClient(tracking_uri=where)
    experiment = client.get_experiment_by_name("small").experiment_id
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FINISHED" and run.data.params["train.batch_size"] == "2"
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [point.step for point in history] == [0, 2, 4, 6]
    assert [point.value for point in history] == result.rounds["train_loss"].tolist()
