from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from fl_ef21.errors import InputError
from scenarios import fairness_file
from scenarios.fairness_figures import CLIENTS, DOTS, points
from scenarios.results import Result
from scenarios.sections import Entry
from tests.scenarios.run_folder import make, rows
from tests.scenarios.test_report import report
from tests.scenarios.timeline_folder import served

TWO = [(rows("sgdm", [2.0, 1.0]), {}), (rows("ef21-sgdm", [2.0, 1.0]), {})]


def test_quantiles_go_from_the_worst_client_to_the_best(tmp_path: Path) -> None:
    page = report(served(make(tmp_path, TWO), clients=11))
    found = page.data["methods"][0]["fairness"]
    accuracy = found["quantiles"]["accuracy"]
    assert (len(accuracy), accuracy[0], accuracy[50], accuracy[-1]) == (101, 0.09091, 0.5455, 1.0)
    assert accuracy == sorted(accuracy) and found["quantiles"]["test_accuracy"] is None
    assert found["clients"][3] == [3, 3, 30, "phone", 0.3636, None, 0.25]
    assert (
        "Fairness" in page.text and "data-quantiles=" in page.source and "test accuracy by own labels" not in page.text
    )


def test_where_everybody_was_used_as_often_participation_is_not_drawn(tmp_path: Path) -> None:
    assert "data-served=" in report(served(make(tmp_path, TWO), clients=2)).source
    assert "data-served=" not in report(served(make(tmp_path, TWO), clients=1)).source


def test_many_clients_are_thinned_evenly(tmp_path: Path) -> None:
    result = Result.load(served(make(tmp_path, TWO), clients=4000))
    found = points(result, [Entry.of(result, i) for i in range(2)])
    for one in found:
        assert one is not None
        clients = [row[0] for row in one["clients"]]
        assert len(clients) == DOTS // 2 and clients[0] == 0 and clients[-1] == 3999


def test_the_file_is_the_one_that_runs_write() -> None:
    assert CLIENTS == fairness_file.CLIENTS


def test_without_the_file_there_is_no_such_section(tmp_path: Path) -> None:
    page = report(make(tmp_path))
    assert "fairness" not in page.ids and page.data["methods"][0]["fairness"] is None


def test_a_broken_file_is_told(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"method": ["a"], "client": [0]}), make(tmp_path) / fairness_file.CLIENTS)
    with pytest.raises(InputError, match="lacks the columns samples, loss"):
        report(tmp_path)
