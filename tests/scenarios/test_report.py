from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import units
from scenarios.figures import CLASSES_SHOWN, CLIENTS_SHOWN, curves, labels, style
from scenarios.report import write
from scenarios.results import Result
from tests.scenarios.run_folder import make, rows

VOID = {"meta", "link", "input", "br", "path"}


class Page(HTMLParser):
    """The page's elements, data and text outside scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.data = json.loads(self.scripts[0])
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key in ("src", "href", "srcset", "action"):
                self.addresses.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        place = self.open[-1] if self.open else ""
        if place == "script":
            self.scripts.append(data)
        elif place != "style":
            self.words.append(data)


def report(folder: Path) -> Page:
    return Page(write(folder))


def test_the_page_is_well_formed_and_fetches_nothing(tmp_path: Path) -> None:
    path = write(make(tmp_path))
    page = Page(path)
    assert "The figures need JavaScript" in page.text
    assert page.open == [] and len(set(page.ids)) == len(page.ids)
    assert page.addresses == ["data:,"]
    assert "default-src 'none'" in page.source and "@import" not in page.source.split("</style>")[0]
    assert path.stat().st_size < 6e6
    assert os.listdir(tmp_path).count("report.html") == 1 and not list(tmp_path.glob(".report*"))


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first = write(make(tmp_path)).read_bytes()
    assert write(tmp_path).read_bytes() == first


def test_the_page_says_what_compression_saved(tmp_path: Path) -> None:
    page = report(make(tmp_path))
    assert "ef21-sgdm reached 53.0 % test accuracy with 300 kB of uplink" in page.text
    assert "12.0 MB, 40× as much" in page.text
    assert "40× less uplink to a training loss of 0.25" in page.text
    assert "wild diverged: not finite at round 20." in page.text
    assert "fl-ef21 run small" in page.text and "batch_size = 1" in page.text and "3.12.1" in page.text


def test_a_method_that_diverged_is_never_the_headline(tmp_path: Path) -> None:
    best_but_wild = rows("wild", [2.0, 1e-9], saving=100)
    page = report(make(tmp_path, [(best_but_wild, {"status": "diverged"}), (rows("calm", [2.0, 1.0], 10), {})]))
    assert "calm reached" in page.text and "wild reached" not in page.text


@pytest.mark.parametrize(
    "methods, said",
    [
        ([(rows("a", [2.0, 1.0]), {})], "No method of this run got through with fewer bytes"),
        ([(rows("a", [2.0, 1.0], 9), {"status": "diverged"})], "Every method of this run diverged"),
    ],
)
def test_without_a_saving_the_page_claims_none(tmp_path: Path, methods: list[Any], said: str) -> None:
    assert said in report(make(tmp_path, methods)).text


def test_the_data_can_be_read_by_a_program(tmp_path: Path) -> None:
    data = report(make(tmp_path)).data
    one = next(m for m in data["methods"] if m["label"] == "ef21-sgdm")
    assert one["curves"]["train_loss"] == [2, 1, 0.5, 0.25] and one["curves"]["uplink_bytes"][-1] == 300_000
    assert [m["diverged"] for m in data["methods"]] == [False, False, True]
    assert data["methods"][2]["curves"]["train_loss"][-1] is None
    assert data["partitions"][0]["counts"] == [[3, 5], [4, 0]]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = '</script><img src=x onerror="alert(1)">&amp;'
    make(tmp_path, [(rows(evil, [2.0, 1.0], 9), {"compressor": evil, "reason": evil, "status": evil})],
         name=evil, command=evil, scenario=f"# {evil}", partition={"scheme": evil, "classes": [evil],
         "label_counts": [[1]]})  # fmt: skip
    (tmp_path / "environment.json").write_text(json.dumps({evil: evil}))
    page = report(tmp_path)
    assert page.addresses == ["data:,"] and page.open == []
    assert page.data["methods"][0]["label"] == evil and page.data["runs"][0]["scenario"] == f"# {evil}"


def test_missing_and_non_finite_values_do_not_break_it(tmp_path: Path) -> None:
    lines = [row | {"test_accuracy": None, "invariant_error": None} for row in rows("a", [1.0, float("nan")], 9)]
    lines[0]["grad_norm_sq"] = float("inf")
    bare = {
        "train_loss": float("nan"),
        "test_accuracy": None,
        "dense_uplink_bytes": None,
        "clients_per_second": None,
    }
    page = report(make(tmp_path, [(lines, bare)], partition=None, problem={}, wall_seconds=None))
    assert "NaN" not in page.scripts[0] and "Infinity" not in page.scripts[0]
    assert 'data-y="test_accuracy"' not in page.source and 'data-partition="0"' not in page.source
    assert "nan" not in page.text.split()


def test_a_run_without_any_evaluation_still_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").write_text("")
    page = report(tmp_path)
    assert "No round was evaluated." in page.text and "interrupted" in page.text


def test_a_failed_write_leaves_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(make(tmp_path)).read_bytes()

    def full_disk(source: str, target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(make(tmp_path, [(rows("other", [1.0]), {})]))
    assert (tmp_path / "report.html").read_bytes() == old and not list(tmp_path.glob(".report*"))


def test_long_curves_are_thinned_but_keep_both_ends(tmp_path: Path) -> None:
    folder = make(tmp_path, [(rows("a", [1 / (1 + i) for i in range(5000)]), {})])
    thin = curves(Result.load(folder).rounds, 100)
    assert len(thin["round"]) == 100 and thin["round"] == sorted(set(thin["round"]))  # type: ignore[type-var]
    assert (thin["round"][0], thin["round"][-1]) == (0, 49_990)
    assert write(folder).stat().st_size < 6e6


def test_many_clients_are_grouped_without_hiding_the_skew() -> None:
    one_class_each = [[20 * (j == i % 10) for j in range(10)] for i in range(5003)]
    drawn = labels([str(j) for j in range(10)], one_class_each)
    shares = [max(column) / sum(column) for column in zip(*drawn.counts, strict=True)]
    assert len(drawn.columns) == CLIENTS_SHOWN and drawn.grouped == 5003
    # a group in which two classes meet is mixed; means over neighbouring ids would all be at 0.1
    assert sum(share == 1 for share in shares) >= CLIENTS_SHOWN - 10


def test_many_classes_keep_every_sample() -> None:
    table = [[(7 * i + j) % 5 for j in range(1000)] for i in range(20)]
    drawn = labels([str(j) for j in range(1000)], table)
    assert len(drawn.classes) == CLASSES_SHOWN and drawn.classes[-1] == f"{1000 - CLASSES_SHOWN + 1} others"
    assert [sum(column) for column in zip(*drawn.counts, strict=True)] == [sum(row) for row in table]


def test_styles_can_be_told_apart() -> None:
    assert len({style(i) for i in range(168)}) == 168
    assert len({style(i).colour for i in range(7)}) == len({style(i).symbol for i in range(8)}) - 1 == 7


@pytest.mark.parametrize(
    "shown, expected",
    [
        (units.size(0), "0 B"),
        (units.size(999), "999 B"),
        (units.size(999_499), "999 kB"),
        (units.size(999_500), "1.00 MB"),
        (units.size(37_040_000), "37.0 MB"),
        (units.size(5e18), "5,000,000 TB"),
        (units.times(36.97), "37×"),
        (units.times(9.949), "9.9×"),
        (units.times(9.951), "10×"),
        (units.percent(0.9409), "94.1 %"),
        (units.seconds(59.96), "1 min 00 s"),
        (units.seconds(7510), "2 h 05 min"),
        (units.seconds(3 * 86400 - 60), "71 h 59 min"),
        (units.seconds(100 * 3600), "4 d 04 h"),
        (units.joules(0.4204), "0.42 J"),
        (units.joules(12_340), "12.3 kJ"),
        (units.joules(None), "–"),
        (units.short(1.2e-7), "1.2e−07"),
        (units.short(float("nan")), "–"),
        (units.size(None), "–"),
    ],
)
def test_numbers_read_as_people_write_them(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(min_value=1, max_value=1e15))
def test_a_size_is_right_to_three_digits(nbytes: float) -> None:
    number, unit = units.size(nbytes).replace(",", "").split()
    scale = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]
    assert float(number) * scale == pytest.approx(nbytes, rel=0.0051, abs=0.51)
