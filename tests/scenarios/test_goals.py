"""The report's sections on what a target cost and on shadow compressors."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from scenarios import compare
from scenarios.goals import WITHIN, Goal, accuracies, costs, curves, goal
from scenarios.page_script import SCRIPT
from scenarios.report import write
from scenarios.results import Result
from scenarios.sections import Entry
from scenarios.targets import cost_within
from tests.scenarios.run_folder import DENSE, Row, make, rows
from tests.scenarios.test_report import report

PLAIN = {"compressor": "Identity()"}


def entries(folder: Path) -> list[Entry]:
    result = Result.load(folder)
    return [Entry.of(result, i) for i in range(len(result.summary["methods"]))]


def found(folder: Path) -> Goal:
    aim = goal(entries(folder))
    assert aim is not None
    return aim


def test_the_goal_is_the_best_uncompressed_methods_last_norm_within_five_per_cent(tmp_path: Path) -> None:
    make(tmp_path, [
        (rows("slow", [9.0, 5.0, 4.0, 4.0, 4.0]), PLAIN),
        (rows("fast", [9.0, 1.0, 1.0, 1.0, 1.0]), PLAIN),
        (rows("wild", [9.0, 0.1, 0.1, 0.1, 0.1]), PLAIN | {"status": "diverged"}),
        (rows("small", [9.0, 0.1, 0.1, 0.1, 0.1], saving=50), {}),
    ])  # fmt: skip
    aim = found(tmp_path)
    assert (aim.of.label, aim.norm) == ("fast", pytest.approx(WITHIN * math.sqrt(0.1)))
    assert aim.paid == 20 * DENSE  # the median of 9, 1 and 1
    assert [aim.cost(entry) for entry in entries(tmp_path)] == [None, 20 * DENSE, 20 * DENSE, 20 * DENSE / 50]


def test_without_an_uncompressed_method_there_is_no_goal_but_curves(tmp_path: Path) -> None:
    make(tmp_path, [(rows("small", [4.0, 1.0], saving=50), {})])
    assert goal(entries(tmp_path)) is None
    page = report(tmp_path)
    assert "What a target cost" in page.text and "within 5 %" not in page.text


def test_the_page_says_what_every_method_paid(tmp_path: Path) -> None:
    page = report(make(tmp_path))
    assert "sgdm's last, uncompressed, within 5 %" in page.text
    assert "not reached" in page.text and "30 300 kB 40×" in page.text
    found = page.data["methods"][1]["targets"]["train_loss"]
    assert found["levels"] == [2.0, 1.5, 1.0, 0.75] and found["uplink_bytes"] == [0, 100_000, 200_000, 300_000]
    assert found["wall_seconds"] == [0, 0.5, 1, 1.5] and found["virtual_seconds"] == [None] * 4


def test_long_frontiers_are_thinned_but_keep_both_ends(tmp_path: Path) -> None:
    make(tmp_path, [(rows("a", [1 / (1 + i) for i in range(3000)]), {})])
    found = curves(entries(tmp_path)[0], 100)["train_loss"]
    assert {len(column) for column in found.values()} == {100}
    assert (found["levels"][0], found["uplink_bytes"][-1]) == (1.0, 29_990 * DENSE)


def with_shadows(folder: Path) -> Path:
    lines = [
        {"method": "ef21-sgdm", "round": round, "shadow": word, "alpha": alpha, "clients": 32, "payload_bytes": size,
         "kept_energy": kept}
        for round in (10, 20)
        for word, alpha, size, kept in (("own", 0.1, 100.0, 0.5), ("<sign>", None, 50.0 + round, 0.3))
    ]  # fmt: skip
    (make(folder) / "shadow.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_shadows_have_a_section_with_means_over_rounds(tmp_path: Path) -> None:
    page = report(with_shadows(tmp_path))
    assert "What others would have sent" in page.text and "its own, TopK(k=7)" in page.text
    assert "65 B 0.7× 30.0 %" in page.text
    assert [len(told) for told in page.data["shadows"]] == [0, 2, 0]
    own = {"shadow": "own", "bytes": 100.0, "kept": 0.5, "alpha": 0.1}
    assert page.data["shadows"][1] == [own, {"shadow": "<sign>", "bytes": 65.0, "kept": 0.3, "alpha": None}]


def test_without_shadows_there_is_no_such_section(tmp_path: Path) -> None:
    assert "What others would have sent" not in report(make(tmp_path)).text


STAGE = """
const stub = () => new Proxy(function () {}, {get: (_, k) => (k === Symbol.toPrimitive ? () => "" : stub()),
  apply: () => stub(), construct: () => stub()});
const box = (dataset) => ({dataset, addEventListener() {}});
const boxes = {"[data-goal]": [box({goal: "grad_norm_sq", hover: ".3~g", at: "0.3"})],
  "[data-shadows]": [box({shadows: "yes"})]};
globalThis.document = {querySelector: () => null,
  getElementById: (id) => (id === "data" ? {textContent: DATA} : null), documentElement: {},
  querySelectorAll: (s) => boxes[s] || []};
globalThis.getComputedStyle = () => ({getPropertyValue: () => "#123456"});
globalThis.location = {hash: ""};
globalThis.matchMedia = () => ({addEventListener() {}});
const drawn = [];
globalThis.Plotly = {react: (box, traces, layout, config) => drawn.push({traces, layout})};
"""


def test_the_script_draws_both_figures(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    text = write(with_shadows(tmp_path / "run")).read_text(encoding="utf-8")
    data = text.split('id="data">')[1].split("</script>")[0]
    program = f"const DATA = {json.dumps(data)};{STAGE}{SCRIPT}console.log(JSON.stringify(drawn));"
    (tmp_path / "page.js").write_text(program, encoding="utf-8")
    said = subprocess.run([node, str(tmp_path / "page.js")], capture_output=True, text=True, timeout=60)
    assert said.stderr == ""
    targets, shadows = json.loads(said.stdout)
    plain = targets["traces"][0]
    assert (plain["name"], plain["y"]) == ("sgdm", [10 * DENSE, 20 * DENSE, 30 * DENSE])
    assert targets["layout"]["shapes"][0]["x0"] == 0.3
    assert [trace["x"] for trace in shadows["traces"]] == [[], [100, 65], []]


# ---------------------------------------------------------------- accuracy


def timed(label: str, accuracies: list[float | None], seconds: float, saving: float) -> list[Row]:
    """Ten rounds between two evaluations, so many virtual seconds a round."""
    lines = rows(label, [1.0] * len(accuracies), saving=saving)
    pairs = zip(lines, accuracies, strict=True)
    return [line | {"test_accuracy": a, "virtual_seconds": line["round"] * seconds} for line, a in pairs]


QUICK = timed("quick", [0.1, 0.6, 0.6, 0.6, 0.6, 0.6], 1.0, 1.0)
THRIFTY = timed("thrifty", [0.1, 0.1, 0.1, 0.855, 0.855, 0.855], 10.0, 50.0)


def test_the_accuracies_asked_for_are_what_all_reached_what_the_best_reached_and_half_way(tmp_path: Path) -> None:
    wild = timed("wild", [0.1, 0.99, 0.99, 0.99, 0.99, 0.99], 1.0, 1.0)
    folder = make(tmp_path, [(QUICK, {}), (THRIFTY, {}), (wild, {"status": "diverged"})])
    assert accuracies(entries(folder)) == [0.60, 0.72, 0.85]  # whole per cents, so that each is reached
    assert accuracies(entries(make(tmp_path / "b", [(QUICK, {})]))) == [0.60]
    assert accuracies(entries(make(tmp_path / "c", [(timed("a", [None, None], 1, 1), {})]))) == []


def test_bytes_and_time_to_accuracy_are_those_of_the_evaluation_that_reached_it(tmp_path: Path) -> None:
    [quick, thrifty] = entries(make(tmp_path, [(QUICK, {}), (THRIFTY, {})]))
    # medians of the last five: of [0.1, 0.6, 0.6] it is 0.6; of [0.1, 0.1, 0.1, 0.855, 0.855] still 0.1
    assert cost_within(quick.rounds, "test_accuracy", 0.6) == 20 * DENSE
    assert cost_within(quick.rounds, "test_accuracy", 0.6, "virtual_seconds") == 20
    assert cost_within(thrifty.rounds, "test_accuracy", 0.85, "virtual_seconds") == 500
    assert cost_within(thrifty.rounds, "test_accuracy", 0.85) == 50 * DENSE / 50
    assert cost_within(quick.rounds, "test_accuracy", 0.61) is None


def test_the_page_tells_bytes_and_time_to_accuracy(tmp_path: Path) -> None:
    page = report(make(tmp_path, [(QUICK, {}), (THRIFTY, {})]))
    assert "Bytes to accuracy, and time to accuracy" in page.text
    assert "quick 8.00 MB 20.0 s not reached not reached not reached not reached" in page.text
    assert "thrifty 400 kB 8 min 20 s 400 kB 8 min 20 s 400 kB 8 min 20 s" in page.text
    assert 'name="goal-cost" value="virtual_seconds"' in page.source


def test_without_devices_only_bytes_are_told(tmp_path: Path) -> None:
    page = report(make(tmp_path))
    assert "Bytes to accuracy" in page.text and "time to accuracy" not in page.text
    assert 'value="virtual_seconds"' not in page.source


def test_a_cost_that_nobody_measured_reaches_nothing(tmp_path: Path) -> None:
    [entry] = entries(make(tmp_path, [(rows("a", [1.0, 0.5]), {})]))
    assert cost_within(entry.rounds, "train_loss", 2.0, "virtual_seconds") is None
    assert costs([entry]) == ["uplink_bytes", "wall_seconds"]


def test_a_comparison_prices_the_accuracy_that_all_reached(tmp_path: Path) -> None:
    left, right = make(tmp_path / "a", [(QUICK, {})]), make(tmp_path / "b", [(THRIFTY, {})])
    found = compare.table([left, right]).set_index("method")
    assert found.attrs["accuracy"] == 0.60
    assert found["bytes_to_accuracy"].tolist() == [20 * DENSE, 50 * DENSE / 50]
    assert found["seconds_to_accuracy"].tolist() == [20, 500]
