"""The curves of a paper's studies: a panel for each setting, a line for each method at its best step size."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios.figures import style
from scenarios.paper import DASHES, FORMATS, LABELS, LOOKS, WIDTHS
from scenarios.papers.measuring import BITS
from scenarios.recorder import ROUNDS, read_lines
from scenarios.study.results import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE, ACROSS, RATIO = "curves.svg", 3, 0.8
Panel = tuple[str, Results, Sequence[Row], Path]  # a heading, and rows of one setting with the folder of their trials


def write(found: Mapping[str, Results], out: Path) -> None:
    """`curves.svg` in `out`: medians over seeds, the least and the largest around them. Nothing without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = [panel for name, results in found.items() for panel in _panels(name, results, out, len(found) > 1)]
    labels = list(dict.fromkeys(row.arm.name for panel in panels for row in panel[2]))
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with rc_context(LOOKS):
        each = WIDTHS["double"] / ACROSS
        figure = Figure(figsize=(each * max(across, 2), each * RATIO * down + 0.4), layout="constrained")
        axes = np.ravel(figure.subplots(down, across, squeeze=False))
        for panel, at in zip(panels, axes, strict=False):
            _draw(at, panel, labels)
        for at in axes[len(panels) :]:
            at.remove()
        told = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        for at in axes[1 : len(panels)]:
            told |= dict(zip(*reversed(at.get_legend_handles_labels()), strict=True))
        figure.legend(told.values(), told.keys(), loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(out / PICTURE, format="svg", metadata=FORMATS["svg"])


def _panels(name: str, results: Results, out: Path, several: bool) -> list[Panel]:
    groups: dict[str, list[Row]] = {}
    for row in results.rows:
        groups.setdefault(row.arm.where, []).append(row)
    trials = out / name / "trials"
    return [
        (", ".join(filter(None, [name if several else "", where])), results, rows, trials)
        for where, rows in groups.items()
    ]


def _draw(at: Axes, panel: Panel, labels: Sequence[str]) -> None:
    heading, results, rows, trials = panel
    figure = results.study.objective
    by_bits = False
    for row in rows:
        runs = [read_lines(trials / trial.id / ROUNDS) for trial in row.best.candidate.trials]
        x, y = _curve(runs, figure)
        if not x.size:
            continue
        by_bits = by_bits or runs[0][-1][BITS] is not None
        look = style(labels.index(row.arm.name))
        at.plot(x, np.median(y, axis=0), color=look.colour, linestyle=DASHES[look.dash], label=row.arm.name)
        at.fill_between(x, y.min(axis=0), y.max(axis=0), color=look.colour, alpha=0.15, linewidth=0)
    at.set(title=heading, ylabel=LABELS[figure], xlabel="uplink bits" if by_bits else "round")
    if figure != "test_accuracy":
        at.set_yscale("log")


def _curve(runs: Sequence[Sequence[Mapping[str, Any]]], figure: str) -> tuple[Any, Any]:
    """x (T,) of the first run and y (seeds, T), without the start; as far as all of them went."""
    length = min(len(run) for run in runs)
    rows = [[line for line in run[:length] if line["round"] > 0] for run in runs]
    x = [line["round"] if line[BITS] is None else line[BITS] for line in rows[0]]
    y = [[np.nan if line[figure] is None else line[figure] for line in run] for run in rows]
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
