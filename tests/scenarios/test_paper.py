"""Figures for papers: which there are, that they are what they say, and the same each time."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fl_ef21.errors import InputError
from scenarios import paper
from scenarios.cli import app
from scenarios.figures import DASHES, SYMBOLS
from scenarios.paper import WIDTHS, axis, write
from scenarios.results import Result
from tests.scenarios.run_folder import make, rows
from tests.scenarios.timeline_folder import timed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return timed(tmp_path_factory.mktemp("paper") / "run", clients=8, rounds=20)


def words(path: Path) -> str:
    return " ".join("".join(text.itertext()) for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text"))


def known(folder: Path) -> set[str]:
    return {plate.name for plate in paper.plates([Result.load(folder)])}


def test_every_figure_of_the_report_is_there(folder: Path) -> None:
    names = known(folder)
    for y in ("train_loss", "grad_norm_sq", "test_accuracy"):
        axes = ("round", "uplink_bytes", "uplink_wire_bytes", "virtual_seconds", "wall_seconds")
        assert names >= {f"{y}-by-{x}" for x in axes}
        assert names >= {f"{cost}-to-{y}" for cost in ("uplink_bytes", "virtual_seconds", "wall_seconds")}
        assert names >= {f"pareto-{y}-{x}" for x in axes[1:]}
    assert names >= {"energy", "staleness", "partition", "gantt-ef21-sgdm", "participation-sgdm"}


def test_methods_of_several_runs_share_the_figures_and_clients_have_none(tmp_path: Path, folder: Path) -> None:
    other = make(tmp_path / "other", [(rows("sgdm", [2.0, 1.0]), {})], name="other")
    [path] = write([folder, other], tmp_path / "out", "svg", only="train_loss-by-round")
    assert all(label in words(path) for label in ("small: sgdm", "ef21-sgdm", "other: sgdm"))
    names = {plate.name for plate in paper.plates([Result.load(folder), Result.load(other)])}
    assert "energy" in names and not {"partition", "gantt-sgdm"} & names


@pytest.mark.nightly
def test_every_figure_can_be_drawn_in_every_format(folder: Path, tmp_path: Path) -> None:
    for format in paper.FORMATS:
        done = write([folder], tmp_path / format, format)
        assert {path.stem for path in done} == known(folder) and all(path.stat().st_size > 2000 for path in done)


@pytest.mark.parametrize(
    "name, told",
    [
        ("test_accuracy-by-virtual_seconds", ["ef21-sgdm", "virtual time, min", "test accuracy", " %"]),
        ("virtual_seconds-to-test_accuracy", ["ef21-sgdm", "virtual time, min", "target for the test accuracy"]),
        ("pareto-train_loss-uplink_bytes", ["ef21-sgdm", "uplink, bytes", "training loss"]),
        ("participation-sgdm", ["used in its round", "lost", "round", "clients, quickest on top"]),
        ("gantt-sgdm", ["download", "compute", "upload", "lost", "virtual time, s"]),
        ("energy", ["radio", "idle", "phone", "ef21-sgdm"]),
        ("staleness", ["share of used replies"]),
        ("partition", ["samples", "client", "class"]),
    ],
)
def test_text_is_text_and_a_figure_is_as_wide_as_a_column(
    folder: Path, tmp_path: Path, name: str, told: list[str]
) -> None:
    [path] = write([folder], tmp_path, "svg", only=name)
    assert [word for word in told if word not in words(path)] == []
    assert float(ET.parse(path).getroot().attrib["width"].removesuffix("pt")) == pytest.approx(72 * WIDTHS["single"])


@pytest.mark.parametrize("format", ["pdf", "svg"])
def test_the_same_files_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str) -> None:
    folder = timed(tmp_path / "run", ["a"], clients=3, rounds=4)
    first = [path.read_bytes() for path in write([folder], tmp_path / "one", format, only="part*-a")]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    again = write([folder], tmp_path / "two", format, only="part*-a")
    assert [path.name for path in again] == [f"participation-a.{format}"]
    assert [path.read_bytes() for path in again] == first


def test_a_pdf_embeds_fonts_that_publishers_take(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", [(rows("a", [2.0, 1.0]), {})], partition=None)
    body = write([folder], tmp_path / "out", only="train_loss-by-round")[0].read_bytes()
    assert body.startswith(b"%PDF") and b"/Type0" in body and b"/Type3" not in body


def test_a_method_that_diverged_does_not_flatten_the_others(tmp_path: Path) -> None:
    wild = (rows("wild", [2.0, 9e9, None]), {"status": "diverged"})
    folder = make(tmp_path / "run", [(rows("a", [2.0, 1.0, 0.5]), {}), wild])
    [found] = write([folder], tmp_path / "out", "svg", only="train_loss-by-round")
    assert "1e" not in words(found) and "0.5" in words(found) and "2.0" in words(found)


def test_a_run_without_any_evaluation_has_no_figures(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").write_text("")
    assert write([tmp_path], tmp_path / "figures") == []


@pytest.mark.parametrize(
    "asked, said",
    [
        ({"format": "pfd"}, "--format = 'pfd': is not known; did you mean 'pdf'"),
        ({"width": "triple"}, "--width = 'triple'"),
        ({"only": "train_los-by-round"}, "--only = 'train_los-by-round': did you mean 'train_loss-by-round'"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_drawn(tmp_path: Path, asked: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        write([make(tmp_path)], tmp_path / "figures", **asked)
    assert not (tmp_path / "figures").exists()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder"):
        write([make(tmp_path / "run")], tmp_path / "out")


def test_without_matplotlib_the_command_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else there(name))
    told = CliRunner().invoke(app, ["figures", str(make(tmp_path))])
    assert told.exit_code == 4 and "pip install 'fl-ef21[pdf]'" in told.output
    assert not (tmp_path / "figures").exists()


def test_every_style_of_the_report_has_one_on_paper() -> None:
    assert set(paper.DASHES) == set(DASHES) and set(paper.MARKERS) == set(SYMBOLS)
    assert len(set(map(str, paper.DASHES.values()))) == 6 and len(set(paper.MARKERS.values())) == 8


@pytest.mark.parametrize(
    "key, most, said",
    [
        ("virtual_seconds", 100, (1.0, "virtual time, s")),
        ("virtual_seconds", 7200, (60.0, "virtual time, min")),
        ("wall_seconds", 90_000, (3600.0, "wall time, h")),
        ("virtual_seconds", 1e6, (86400.0, "virtual time, d")),
        ("uplink_wire_bytes", 1e6, (1.0, "uplink, bytes on the wire")),
    ],
)
def test_time_is_told_in_the_unit_that_reads_best(key: str, most: float, said: tuple[float, str]) -> None:
    assert axis(key, most) == said


def test_the_commands_say_where_things_are(tmp_path: Path) -> None:
    folder = timed(tmp_path / "run", ["a"], clients=2, rounds=2)
    told = CliRunner().invoke(app, ["trace", str(folder)])
    assert (told.exit_code, told.stdout) == (0, f"{folder / 'trace.json'}\n")
    told = CliRunner().invoke(app, ["trace", str(make(tmp_path / "plain"))])
    assert told.exit_code == 3 and "timeline.parquet" in told.output
    told = CliRunner().invoke(app, ["trace", str(tmp_path)])
    assert told.exit_code == 3 and "not a run folder" in told.output
