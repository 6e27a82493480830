"""The report's tables on fairness say what the summary says, and nothing where nobody measured."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fl_ef21.each import Each
from scenarios.fairness import Clients, figures
from scenarios.fairness_section import section_body
from scenarios.results import Result
from tests.scenarios.run_folder import make, rows


def page(folder: Path, **of_clients: Any) -> str:
    n, ramp = 20, np.arange(20.0)
    each = Each(10 + ramp, 2 - ramp / 20, ramp / 20, np.full(n, np.nan))
    given = {"asked": np.full(n, 9), "used": np.arange(n), "kinds": (), "step_seconds": np.full(n, np.nan)}
    clients = Clients(each, **(given | of_clients))
    losses: list[float | None] = [2.0, 1.0]
    return section_body(Result.load(make(folder, [(rows("<sgdm>", losses), {"fairness": figures(clients)})])))


def cells(html: str, *begin: str) -> list[str]:
    """Of the first row whose cells begin like this."""
    for row in re.findall(r"<tr>(.*?)</tr>", html):
        found = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        if tuple(found[: len(begin)]) == begin:
            return found[len(begin) :]
    raise AssertionError(f"no row {begin}")


def test_a_row_for_each_measure_says_how_it_is_spread(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert cells(html, "&lt;sgdm&gt;", "accuracy, own samples")[:5] == ["2.5 %", "9.5 %", "47.5 %", "85.5 %", "92.5 %"]
    assert cells(html, "&lt;sgdm&gt;", "loss")[0] == "1.98" and "test accuracy, own classes" not in html


def test_sizes_and_ranks_are_told(tmp_path: Path) -> None:
    html = page(tmp_path)
    assert cells(html, "&lt;sgdm&gt;", "smallest, 10 to 14 samples")[:5] == ["5", "45", "10", "1.9", "2"]
    told = html.split("Spearman", 1)[1]
    assert cells(told, "&lt;sgdm&gt;", "loss") == ["−1", "−1"] and "step time" not in html


def test_classes_are_told_where_there_are_devices(tmp_path: Path) -> None:
    assert "class of device" not in page(tmp_path / "without")
    html = page(tmp_path / "with", kinds=("quick", "slow") * 10, step_seconds=np.tile([1.0, 9.0], 10))
    assert cells(html, "&lt;sgdm&gt;", "slow")[:3] == ["10", "90", "100"] and "with step time" in html


def test_there_is_nothing_where_nobody_measured(tmp_path: Path) -> None:
    assert section_body(Result.load(make(tmp_path / "old"))) == ""
    lost = page(tmp_path / "lost") and figures(Clients(Each.nothing(3), np.ones(3), np.ones(3), (), np.full(3, np.nan)))
    told = [(rows("wild", [2.0, None]), {"fairness": lost})]
    assert section_body(Result.load(make(tmp_path / "diverged", told))) == ""
