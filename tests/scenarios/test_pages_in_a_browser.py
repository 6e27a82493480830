"""The pages in a headless Chromium without a network: every figure is drawn, and controls work by click."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scenarios.compare import compare
from scenarios.report import write
from tests.scenarios.browser import Browser, browser, missing
from tests.scenarios.timeline_folder import served, timed

pytestmark = pytest.mark.system

PLOTS = """
return [...document.querySelectorAll(".plot")].map((p) => ({data: Object.keys(p.dataset).join(), svg: p.querySelectorAll("svg.main-svg").length,
  shown: (p.data || []).length, marks: p.querySelectorAll(".scatterlayer .trace, .barlayer .trace, .heatmaplayer image, .hm image").length}));
"""  # noqa: E501
FETCHED = "return performance.getEntriesByType('resource').map((r) => r.name).filter((n) => !n.startsWith('data:'))"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if why := missing():
        pytest.skip(why)
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that has every figure, shadows among them."""
    folder = served(timed(tmp_path_factory.mktemp("page") / "run", rounds=60))
    line = {"method": "ef21-sgdm", "round": 10, "alpha": 0.1, "clients": 9, "payload_bytes": 90.0, "kept_energy": 0.5}
    (folder / "shadow.jsonl").write_text("".join(json.dumps(line | {"shadow": s}) + "\n" for s in ("own", "sign")))
    return write(folder)


def test_a_report_draws_every_figure_without_a_network_or_a_complaint(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    for colours in ("light", "dark"):
        chromium.colours(colours)  # the open page follows the system
        plots: list[dict[str, Any]] = chromium.js(PLOTS)
        kinds = {name for plot in plots for name in plot["data"].split(",")}
        assert kinds >= {
            "y",
            "goal",
            "pareto",
            "map",
            "gantt",
            "energy",
            "staleness",
            "shadows",
            "partition",
            "quantiles",
        }
        assert [plot for plot in plots if plot["svg"] < 1 or plot["shown"] < 1 or plot["marks"] < 1] == []
        told = chromium.js("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, told[4:-1].split(","))) < 200) == (colours == "dark")
        paper = chromium.js("return document.querySelector('[data-gantt]').layout.font.color")
        assert paper == {"light": "#5a6572", "dark": "#a2acb8"}[colours]
    assert chromium.complaints() == [] and chromium.js(FETCHED) == []
    assert page.stat().st_size < 6e6


def test_every_control_and_figure_has_a_name_and_a_place_in_the_order_of_tabs(chromium: Browser, page: Path) -> None:
    """Of the page that is open: nothing is changed."""
    if not chromium.js("return location.href.startsWith('file:')"):
        chromium.open(page)
    ours = "[...document.querySelectorAll('input, select, button')].filter((x) => !x.closest('.js-plotly-plot'))"
    assert chromium.js(f"return {ours}.length") > 20
    assert chromium.js(f"return {ours}.every((x) => x.tabIndex >= 0 && (x.labels?.length || x.textContent))") is True
    assert (
        chromium.js("return [...document.querySelectorAll('.plot')].every((p) => p.getAttribute('aria-label'))") is True
    )


def names(chromium: Browser, css: str) -> list[str]:
    found: list[str] = chromium.js(f"return document.querySelector('{css}').data.map((t) => t.name)")
    return found


def choose(chromium: Browser, name: str, value: str) -> None:
    chromium.click(f"input[name={name}][value={value}]")


def test_methods_and_axes_are_chosen_by_click(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    chromium.click(".legend button")
    for css in ("[data-y]", "[data-goal]", "[data-pareto]", "[data-shadows]", "[data-quantiles]", "[data-served]"):
        assert "sgdm" not in names(chromium, css) and "ef21-sgdm" in names(chromium, css), css
    assert set(chromium.js("return document.querySelector('[data-energy]').data[0].x[1]")) == {"ef21-sgdm"}
    chromium.click(".legend button")
    assert "sgdm" in names(chromium, "[data-y]")

    axis = "const l = document.querySelector('[data-y=train_loss]').layout; return [l.xaxis.title.text, l.xaxis.type]"
    assert chromium.js(axis) == ["rounds", "linear"]
    choose(chromium, "x", "virtual_seconds")
    assert chromium.js(axis) == ["virtual time", "linear"]
    assert chromium.js("return document.querySelector('[data-y]').data[0].x.slice(-1)") == [12]  # 720 s, in minutes
    choose(chromium, "x", "uplink_bytes")
    assert chromium.js(axis) == ["uplink bytes, all clients", "log"]

    choose(chromium, "goal-cost", "virtual_seconds")
    cost = "return document.querySelector('[data-goal=test_accuracy]').layout.yaxis.title.text"
    assert chromium.js(cost) == "virtual time"

    choose(chromium, "pareto-x", "virtual_seconds")
    choose(chromium, "pareto-y", "grad_norm_sq")
    front = "const l = document.querySelector('[data-pareto]').layout; return [l.xaxis.title.text, l.yaxis.type]"
    assert chromium.js(front) == ["virtual time", "log"]
    marks = "return document.querySelector('[data-pareto]').data.slice(1).map((t) => [t.name, t.marker.symbol])"
    assert chromium.js(marks) == [["sgdm", "circle-open"], ["ef21-sgdm", "square"]]  # half the time, and lower

    choose(chromium, "fairness", "loss")
    drawn = "return document.querySelector('[data-served]').layout.yaxis.title.text"
    assert chromium.js(drawn) == "loss on own samples" and chromium.complaints() == []


def gantt(chromium: Browser) -> list[str]:
    found: list[str] = chromium.js(
        "return document.querySelector('[data-gantt]').layout.annotations.map((a) => a.text)"
    )
    return found


def test_the_gantt_charts_rounds_and_method_are_chosen_by_click_and_key(chromium: Browser, page: Path) -> None:
    chromium.open(page)
    assert gantt(chromium) == ["round 1", "round 2", "round 3", "round 4"]
    chromium.click("#gantt-later")
    assert gantt(chromium) == ["round 5", "round 6", "round 7", "round 8"]
    chromium.type("#gantt-to", "6")
    assert gantt(chromium) == ["round 5", "round 6"]
    chromium.click("#gantt-earlier")
    assert gantt(chromium) == ["round 3", "round 4"]
    bars = {"idle or away", "download", "compute", "upload", "lost", "after its round, dropped"}
    assert set(names(chromium, "[data-gantt]")) == bars
    chromium.click("#timed option:last-of-type")
    assert chromium.js("return document.getElementById('timed').value") == "1"
    assert gantt(chromium) == ["round 3", "round 4"] and chromium.complaints() == []


@pytest.mark.nightly
def test_rounds_that_the_page_does_not_have_are_told(chromium: Browser, tmp_path: Path) -> None:
    chromium.open(write(timed(tmp_path / "run", ["a"], clients=60, rounds=300)))
    shown = "return !document.getElementById('gantt-none').hidden"
    assert chromium.js(shown) is False
    chromium.type("#gantt-to", "150")
    assert chromium.js(shown) is True and len(gantt(chromium)) == 12  # labels of the 25 rounds from the start
    chromium.type("#gantt-from", "299")
    assert chromium.js(shown) is False and gantt(chromium) == ["round 299"]
    assert chromium.js("return document.querySelector('.key').hidden") is True  # shares, not single replies
    assert chromium.complaints() == []


def test_a_comparison_draws_every_figure_and_answers_clicks(chromium: Browser, tmp_path: Path) -> None:
    runs = [served(timed(tmp_path / n, [n, f"{n}-sgdm"]), [n, f"{n}-sgdm"]) for n in ("left", "right")]
    page = compare(runs, tmp_path / "compare.html")
    chromium.open(page)
    plots: list[dict[str, Any]] = chromium.js(PLOTS)
    kinds = {name for plot in plots for name in plot["data"].split(",")}
    assert kinds >= {"y", "goal", "pareto", "energy", "staleness", "quantiles", "served", "partition"}
    assert [plot for plot in plots if plot["svg"] < 1 or plot["marks"] < 1] == []
    choose(chromium, "x", "virtual_seconds")
    choose(chromium, "pareto-x", "virtual_seconds")
    chromium.click(".legend button:nth-of-type(2)")
    assert names(chromium, "[data-y]") == ["left", "right", "right-sgdm"]
    assert chromium.complaints() == [] and chromium.js(FETCHED) == [] and page.stat().st_size < 6e6
