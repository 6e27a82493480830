from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fl_ef21.errors import InputError
from scenarios.results import COLUMNS, Result
from scenarios.targets import SMOOTH, bytes_to, cost_within, frontier, smoothed, weakest_best
from tests.scenarios.run_folder import DENSE, make, rows


def test_a_run_folder_comes_back_as_it_was_written(tmp_path: Path) -> None:
    result = Result.load(make(tmp_path))
    assert list(result.rounds.columns) == list(COLUMNS)
    assert result.of("ef21-sgdm")["train_loss"].tolist() == [2.0, 1.0, 0.5, 0.25]
    assert result.of("sgdm")["uplink_bytes"].tolist() == [0, 10 * DENSE, 20 * DENSE, 30 * DENSE]
    assert math.isnan(result.of("wild")["train_loss"].iloc[-1])
    assert result.summary["name"] == "small" and result.environment["cpus"] == 2 and "seed = 0" in result.scenario


def test_a_folder_without_rounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run folder.*rounds\.jsonl"):
        Result.load(tmp_path)


@pytest.mark.parametrize(
    "line, said",
    [
        ("{", "not a line of JSON"),
        ("[1]", "label"),
        ('{"method": 3}', "label"),
        ('{"method": "a", "round": 1.5}', "round"),
        ('{"method": "a", "round": -1}', "round"),
    ],
)
def test_a_broken_line_is_named_with_file_and_number(tmp_path: Path, line: str, said: str) -> None:
    make(tmp_path)
    path = tmp_path / "rounds.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\n{line}\n{rest}")
    with pytest.raises(InputError, match=rf"rounds\.jsonl:2.*{said}"):
        Result.load(tmp_path)


def test_a_wrong_number_names_its_key(tmp_path: Path) -> None:
    row = rows("a", [1.0])[0] | {"train_loss": "low"}
    make(tmp_path)
    (tmp_path / "rounds.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"rounds\.jsonl:1 train_loss = 'low'"):
        Result.load(tmp_path)


def test_wherever_a_kill_cuts_the_last_line_the_others_are_read(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "rounds.jsonl"
    whole = path.read_text()
    last = whole.rstrip("\n").rfind("\n") + 1
    for cut in (last, last + 1, last + 40, len(whole) - 2):
        path.write_text(whole[:cut])
        assert len(Result.load(tmp_path).rounds) == 10, cut
    path.write_text(whole[:-1])
    assert len(Result.load(tmp_path).rounds) == 11


def test_of_a_round_written_twice_the_later_line_counts(tmp_path: Path) -> None:
    make(tmp_path, [(rows("a", [2.0, 1.0]) + rows("a", [2.0, 0.9]), {})])
    assert Result.load(tmp_path).rounds["train_loss"].tolist() == [2.0, 0.9]


def test_a_killed_run_without_a_summary_still_has_its_final_figures(tmp_path: Path) -> None:
    make(tmp_path, scenario='name = "mine"\n[data]\nsource = "digits"\n[partition]\nclients = 100\n')
    (tmp_path / "summary.json").unlink()
    result = Result.load(tmp_path)
    table = result.table().set_index("method")
    assert (result.summary["name"], result.summary["status"]) == ("mine", "interrupted")
    assert result.summary["problem"]["clients"] == 100
    assert list(table.index) == ["sgdm", "ef21-sgdm", "wild"]
    assert table.loc["ef21-sgdm", "train_loss"] == 0.25 and table.loc["ef21-sgdm", "best_test_accuracy"] == 0.53
    assert set(table["status"]) == {"interrupted"}


def test_a_run_killed_before_its_first_evaluation_is_empty(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").write_text("")
    result = Result.load(tmp_path)
    assert result.rounds.empty and result.table().empty and result.summary["name"] == tmp_path.name


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"methods": [{}]}'])
def test_a_broken_summary_is_named(tmp_path: Path, text: str) -> None:
    make(tmp_path)
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=r"summary\.json"):
        Result.load(tmp_path)


def test_the_table_says_how_much_each_method_saved(tmp_path: Path) -> None:
    table = Result.load(make(tmp_path)).table().set_index("method")
    assert table.loc["sgdm", "saving"] == 1.0
    assert table.loc["ef21-sgdm", "saving"] == pytest.approx(40)


def test_the_figure_has_a_curve_for_each_method_and_knows_its_columns(tmp_path: Path) -> None:
    result = Result.load(make(tmp_path))
    figure = result.figure("grad_norm_sq", "round")
    assert [trace.name for trace in figure.data] == ["sgdm", "ef21-sgdm", "wild"]
    assert list(figure.data[0].x) == [0, 10, 20, 30] and list(figure.data[0].y) == pytest.approx(
        [0.2, 0.1, 0.05, 0.025]
    )
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("linear", "log")
    with pytest.raises(InputError, match="train_loss"):
        result.figure("train_los")


def test_a_notebook_shows_labels_as_text(tmp_path: Path) -> None:
    html = Result.load(make(tmp_path, [(rows("<script>", [1.0, 0.5]), {})]))._repr_html_()
    assert "&lt;script&gt;" in html and "<script>" not in html


def test_a_detached_result_has_no_folder_and_the_same_rounds(tmp_path: Path) -> None:
    result = Result.load(make(tmp_path))
    assert result.detached().folder is None and result.detached().rounds is result.rounds


def test_bytes_to_a_target_are_those_of_the_first_row_that_reaches_it(tmp_path: Path) -> None:
    made = make(tmp_path, [(rows("deep", [4.0, 2.0, 1.0]), {}), (rows("shallow", [4.0, 3.0, 2.5]), {})])
    result = Result.load(made)
    deep, shallow = result.of("deep"), result.of("shallow")
    assert weakest_best([deep, shallow], "train_loss") == 2.5
    assert bytes_to(deep, "train_loss", 2.5) == 10 * DENSE
    assert bytes_to(shallow, "train_loss", 2.5) == 20 * DENSE
    assert bytes_to(shallow, "train_loss", 1.0) is None
    assert weakest_best([], "train_loss") is None


def test_one_lucky_dip_reaches_no_target(tmp_path: Path) -> None:
    steady = [10.0] * SMOOTH + [1.0] + [10.0] * SMOOTH + [1.0] * (SMOOTH // 2 + 1)
    run = Result.load(make(tmp_path, [(rows("a", steady), {})])).of("a")
    assert bytes_to(run, "train_loss", 1.0) == 10 * SMOOTH * DENSE
    assert cost_within(run, "train_loss", 1.0) == 10 * (len(steady) - 1) * DENSE
    assert cost_within(run, "train_loss", 0.5) is None
    assert frontier(run, "train_loss") == [(10.0, 0), (1.0, 10 * (len(steady) - 1) * DENSE)]


def test_at_the_start_and_around_gaps_the_median_is_of_what_there_is(tmp_path: Path) -> None:
    run = Result.load(make(tmp_path, [(rows("a", [4.0, 2.0, None, 1.0]), {})])).of("a")
    assert smoothed(run, "train_loss") == [(4.0, 0), (3.0, 10 * DENSE), (2.0, 30 * DENSE)]
