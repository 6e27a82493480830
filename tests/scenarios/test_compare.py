from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fl_ef21.errors import InputError
from scenarios.compare import compare, run_names, table, unfair
from scenarios.results import Result
from tests.scenarios.run_folder import DENSE, make, rows

SETTING = """
seed = {seed}
[data]
source = "digits"
[partition]
clients = {clients}
[train]
batch_size = {batch}
"""


def load(*folders: Path) -> list[Result]:
    return [Result.load(folder) for folder in folders]


def data_of(page: Path) -> dict[str, object]:
    text = page.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0]
    found: dict[str, object] = json.loads(text)
    return found


def test_the_table_prices_the_same_result(tmp_path: Path) -> None:
    deep = make(tmp_path / "deep", [(rows("deep", [4.0, 2.0, 1.0], saving=10), {})], name="deep")
    weak = make(tmp_path / "weak", [(rows("weak", [4.0, 3.0, 2.0]), {})], name="weak")
    found = table([deep, weak]).set_index("method")
    assert found.attrs["targets"] == {"grad_norm_sq": 0.2, "train_loss": 2.0}
    assert found["run"].tolist() == ["deep", "weak"]
    assert found["bytes_to_train_loss"].tolist() == [DENSE, 20 * DENSE]
    assert found["bytes_to_grad_norm_sq"].tolist() == [DENSE, 20 * DENSE]


def test_what_diverged_sets_no_target(tmp_path: Path) -> None:
    folder = make(tmp_path)
    found = table([folder]).set_index("method")
    assert found.attrs["targets"]["train_loss"] == 0.25
    assert math.isnan(found.loc["wild", "bytes_to_train_loss"])
    assert found.loc["sgdm", "bytes_to_train_loss"] == 30 * DENSE


def test_the_uncompressed_methods_gradient_norm_is_priced_across_runs(tmp_path: Path) -> None:
    plain = make(tmp_path / "plain", [(rows("sgdm", [4.0, 2.0, 1.0, 1.0, 1.0]), {"compressor": "Identity()"})])
    small = make(tmp_path / "small", [(rows("ef21", [4.0, 2.0, 1.0, 1.0, 1.0], saving=50), {})])
    found = table([plain, small]).set_index("method")
    assert found["bytes_to_uncompressed"].tolist() == [40 * DENSE, 40 * DENSE / 50]
    assert math.isnan(table([small]).set_index("method").loc["ef21", "bytes_to_uncompressed"])
    text = compare([plain, small], tmp_path / "out.html").read_text(encoding="utf-8")
    assert "What a target cost" in text and "50×" in text


def test_labels_are_prefixed_only_where_two_runs_share_them(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [(rows("both", [2.0, 1.0]), {}), (rows("mine", [2.0, 1.0]), {})], name="left")
    b = make(tmp_path / "b", [(rows("both", [2.0, 1.0]), {})], name="right")
    methods = data_of(compare([a, b], tmp_path / "out.html"))["methods"]
    assert [m["label"] for m in methods] == ["left: both", "mine", "right: both"]  # type: ignore[attr-defined]


def test_runs_of_one_scenario_go_by_their_folders_and_then_by_number(tmp_path: Path) -> None:
    a, b, c = (make(tmp_path / name) for name in ("a", "b", "other/a"))
    assert run_names(load(a)) == ["small"]
    assert run_names(load(a, b)) == ["a", "b"]
    assert run_names(load(a, b, c)) == ["a #1", "b", "a #3"]


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"seed": 1}, "The runs differ in seed: 0 in a, 1 in b."),
        ({"clients": 7}, "The runs differ in partition.clients: 10 in a, 7 in b."),
        ({"batch": 32}, "The runs differ in train.batch_size: 1 in a, 32 in b."),
    ],
)
def test_an_unfair_comparison_is_called_so(tmp_path: Path, changed: dict[str, int], said: str) -> None:
    same = {"seed": 0, "clients": 10, "batch": 1}
    a = make(tmp_path / "a", scenario=SETTING.format(**same))
    b = make(tmp_path / "b", scenario=SETTING.format(**(same | changed)))
    assert unfair(load(a, b), ["a", "b"]) == [said]
    assert said in compare([a, b], tmp_path / "out.html").read_text(encoding="utf-8")


def test_runs_that_differ_in_methods_alone_are_fair(tmp_path: Path) -> None:
    setting = SETTING.format(seed=0, clients=10, batch=1)
    a = make(tmp_path / "a", scenario=setting + '[[method]]\nname = "sgdm"\n')
    b = make(tmp_path / "b", scenario=setting + '[[method]]\nname = "ef14"\n')
    assert unfair(load(a, b), ["a", "b"]) == []


def test_a_key_only_one_run_has_and_another_machine_are_differences(tmp_path: Path) -> None:
    a = make(tmp_path / "a", scenario="[data]\ntest_fraction = 0.2\n")
    b = make(tmp_path / "b", scenario="[data]\n")
    (b / "environment.json").write_text('{"cpus": 64}')
    found = unfair(load(a, b), ["a", "b"])
    assert found[0] == "The runs differ in data.test_fraction: 0.2 in a, the default in b."
    assert "wall times" in found[1]


def test_a_partition_that_runs_share_is_drawn_once(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    other = {"scheme": "iid", "classes": ["0"], "label_counts": [[1]]}
    c = make(tmp_path / "c", partition=other)
    assert len(data_of(compare([a, b, c], tmp_path / "out.html"))["partitions"]) == 2  # type: ignore[arg-type]


def test_the_page_is_the_same_every_time_and_lies_where_it_was_asked_for(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    out = tmp_path / "out.html"
    assert compare([a, b], out) == out
    first = out.read_bytes()
    assert compare([a, b], out).read_bytes() == first and len(first) < 6e6
    assert not (a / "report.html").exists()


def test_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one run folder"):
        compare([], tmp_path / "out.html")
    with pytest.raises(InputError, match="not a run folder"):
        table([tmp_path])
    (make(tmp_path / "a") / "scenario.toml").write_text("= broken")
    with pytest.raises(InputError, match=r"scenario\.toml.*TOML"):
        compare([tmp_path / "a"], tmp_path / "out.html")
