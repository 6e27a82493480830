"""MLflow: an experiment for each scenario's name, a run for each method, a metric for each figure."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from scenarios.trackers.base import Run, numbers

RUN, METHOD, FOLDER = "fl_ef21.run", "fl_ef21.method", "fl_ef21.folder"  # tags
_STATUS = {"finished": "FINISHED", "stopped": "FINISHED", "diverged": "FAILED", "failed": "FAILED"}
_MOST = 100  # parameters that MLflow takes at once
_LONGEST = 6000  # characters of a parameter
# What this program does not decide where somebody has: nobody is told that it runs, and a server that is away does not
# hold it up for long.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class MLflow:
    """A `Tracker`. A run that goes on adds to the runs that its earlier starts made."""

    example: ClassVar[str] = "http://localhost:5000"

    def __init__(self, where: str) -> None:
        self.where = where
        self._client: Any = None
        self._ids: dict[str, str] = {}

    def start(self, run: Run) -> None:
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self.where)
        experiment = self._experiment(run.name)
        self._ids = {label: self._run(experiment, run, label) for label in run.methods}

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        made: str = self._client.create_experiment(name) if found is None else found.experiment_id
        return made

    def _run(self, experiment: str, run: Run, label: str) -> str:
        """The id of the run of one method; of an earlier start where there is one."""
        from mlflow.entities import Param

        wanted = f"tags.`{RUN}` = '{run.identity}'"
        found = self._client.search_runs([experiment], wanted, max_results=1000) if run.resumed else []
        for one in found:
            if one.data.tags.get(METHOD) == label:
                self._client.update_run(one.info.run_id, status="RUNNING")
                return str(one.info.run_id)
        tags = {RUN: run.identity, METHOD: label, FOLDER: str(run.folder.resolve())}
        made: str = self._client.create_run(experiment, tags=tags, run_name=label).info.run_id
        settings = [Param(key, str(value)[:_LONGEST]) for key, value in run.settings(label).items()]
        for at in range(0, len(settings), _MOST):
            self._client.log_batch(made, params=settings[at : at + _MOST])
        return made

    def row(self, method: str, row: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, int(row["round"])) for key, value in numbers(row).items()]
        self._client.log_batch(self._ids[method], metrics=metrics)

    def end(self, summary: Mapping[str, Any]) -> None:
        told = {one["label"]: one.get("status") for one in summary["methods"]}
        for label, made in self._ids.items():
            self._client.set_terminated(made, _STATUS.get(str(told.get(label)), "KILLED"))
