"""Figures for papers, one a file, from run folders: curves, costs of targets, the Pareto front, and `paper_devices`.

Styles are those of the report. Text stays text, fonts are embedded, and the same files give the same bytes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_ef21.errors import InputError, choose, nearest
from scenarios import goals, pareto, units
from scenarios.compare import entries_of, run_names
from scenarios.figures import INK, Style
from scenarios.figures import X as AXES
from scenarios.results import Result
from scenarios.sections import Entry
from scenarios.targets import RISING, frontier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS = {"single": 3.35, "double": 7.0}  # inches: a column of 85 mm, and two with the gap between them
FORMATS = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}
DASHES: dict[str, Any] = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-.", "longdash": (0, (8, 3)),
                          "longdashdot": (0, (8, 3, 2, 3))}  # fmt: skip
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "triangle-down": "v",
           "star": "*", "pentagon": "p"}  # fmt: skip
LABELS = {
    "train_loss": "training loss",
    "grad_norm_sq": "squared gradient norm",
    "test_accuracy": "test accuracy",
}
LOOKS: dict[Any, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7, "xtick.labelsize": 7,
    "ytick.labelsize": 7, "axes.linewidth": 0.6, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#e4e7ea", "grid.linewidth": 0.5,
    "lines.linewidth": 1.2, "lines.markersize": 3.5, "axes.spines.top": False, "axes.spines.right": False,
    "hatch.linewidth": 0.5, "pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "fl_ef21", "savefig.dpi": 300,
}  # fmt: skip
Draw = Callable[["Axes"], None]


@dataclass(frozen=True)
class Plate:
    """One figure before it is drawn.

    Attributes:
      name: of its file, without the ending.
      draw: puts it on axes.
      ratio: height over width.
      methods: who stands in the legend above it.
    """

    name: str
    draw: Draw
    ratio: float = 0.72
    methods: list[Entry] = field(default_factory=list)


def write(
    folders: Sequence[Path], out: Path, format: str = "pdf", width: str = "single", only: str = "*"
) -> list[Path]:
    """Writes every figure there are numbers for and whose name is like `only` into the folder `out`; returns the files.

    With several run folders their methods share the figures; those of a single run's clients are left out.

    Raises: InputError where one is no run folder, format or width is not known, or no name is like `only`;
    ModuleNotFoundError where matplotlib is missing.
    """
    metadata, inches = choose(FORMATS, format, "--format"), choose(WIDTHS, width, "--width")
    results = [Result.load(folder) for folder in folders]
    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("figures for papers need pip install 'fl-ef21[pdf]'", name="matplotlib")
    if out.exists() and not out.is_dir():
        raise InputError("--out", str(out), "is a file; name a folder")
    made = list(plates(results))
    wanted = [plate for plate in made if fnmatchcase(plate.name, only)]
    if made and not wanted:
        raise InputError("--only", only, nearest(only, [plate.name for plate in made]))
    out.mkdir(parents=True, exist_ok=True)
    from matplotlib import rc_context

    written = []
    with rc_context(LOOKS):
        for plate in wanted:
            path = out / f"{plate.name}.{format}"
            _figure(plate, inches).savefig(path, format=format, metadata=metadata)
            written.append(path)
    return written


def plates(results: Sequence[Result]) -> Iterator[Plate]:
    """All figures that there are numbers for."""
    from scenarios import paper_devices

    entries = entries_of(results, run_names(results))
    for y in LABELS:
        for x in AXES:
            if _has(entries, y) and _has(entries, x):
                yield Plate(f"{y}-by-{x}", _curves(entries, y, x), methods=entries)
    for goal in LABELS:
        for cost in goals.costs(entries):
            if any(frontier(entry.rounds, goal, cost) for entry in entries):
                yield Plate(f"{cost}-to-{goal}", _costs(entries, goal, cost), methods=entries)
    sound = [entry for entry in entries if entry.sound]
    points = [pareto.point(entry) for entry in sound]
    for y in pareto.measured(points, pareto.Y) if len(sound) > 1 else ():
        for x in pareto.measured(points, pareto.X):
            yield Plate(f"pareto-{y}-{x}", _front(sound, points, y, x), methods=sound)
    yield from paper_devices.of_methods(entries)
    if len(results) == 1:
        yield from paper_devices.of_clients(results[0])


def _has(entries: list[Entry], key: str) -> bool:
    return any(units.finite(v) is not None for entry in entries for v in entry.rounds[key].tolist())


def _figure(plate: Plate, inches: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(inches, inches * plate.ratio), layout="constrained")
    axes = figure.add_subplot()
    plate.draw(axes)
    if plate.methods:
        handles = [_handle(entry) for entry in plate.methods]
        columns = 2 if inches < 5 else 4
        figure.legend(handles=handles, loc="outside upper left", ncols=columns, frameon=False, handlelength=2.6)
    return figure


def colour(style: Style) -> str:
    return "#000000" if style.colour == INK else style.colour


def _handle(entry: Entry) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], label=entry.label, **_look(entry.style))


def _look(style: Style) -> dict[str, Any]:
    return {"color": colour(style), "linestyle": DASHES[style.dash], "marker": MARKERS[style.symbol]}


def _curves(entries: list[Entry], y: str, x: str) -> Draw:
    def draw(axes: Axes) -> None:
        scale, label = axis(x, max((v for entry in entries for v in _finite(entry, x)), default=0.0))
        for entry in entries:
            rows = entry.rounds
            axes.plot(rows[x] / scale, rows[y], markevery=max(1, len(rows) // 8), **_look(entry.style))
        settled = [v for entry in entries if not entry.diverged for v in _finite(entry, y)]
        _upright(axes, y, settled)
        if x.endswith("bytes"):
            axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel(LABELS[y])

    return draw


def _finite(entry: Entry, key: str) -> list[float]:
    return [v for value in entry.rounds[key].tolist() if (v := units.finite(value)) is not None]


def _upright(axes: Axes, y: str, settled: list[float]) -> None:
    """The scale of what was reached; what diverged leaves the figure."""
    if y == "grad_norm_sq" and any(v > 0 for v in settled):
        axes.set_yscale("log")
        axes.set_ylim(min(v for v in settled if v > 0) / 1.3, 1.3 * max(settled))
    elif y == "test_accuracy":
        axes.yaxis.set_major_formatter(_percent)
    elif settled:
        pad = 0.05 * (max(settled) - min(settled) or 1.0)
        axes.set_ylim(min(settled) - pad, max(settled) + pad)


def _percent(share: float, _: float) -> str:
    return f"{100 * share:.3g} %"


def axis(key: str, most: float) -> tuple[float, str]:
    """What an axis is divided by and called, where `most` is its last figure."""
    if not key.endswith("seconds"):
        return 1.0, "round" if key == "round" else "uplink, bytes on the wire" if "wire" in key else "uplink, bytes"
    unit = next((u for u in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")) if most > 3 * u[0]), (1.0, "s"))
    return unit[0], f"{'virtual' if key.startswith('virtual') else 'wall'} time, {unit[1]}"


def _costs(entries: list[Entry], goal: str, cost: str) -> Draw:
    def draw(axes: Axes) -> None:
        found = [frontier(entry.rounds, goal, cost) for entry in entries]
        scale, label = axis(cost, max((paid for steps in found for _, paid in steps), default=0.0))
        for entry, steps in zip(entries, found, strict=True):
            levels, paid = [level for level, _ in steps], [paid / scale for _, paid in steps]
            look = _look(entry.style) | {"marker": ""}
            axes.step(levels, paid, where="pre", **look)
        axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.set_xlabel(f"target for the {LABELS[goal]}")
        reached = [level for steps in found for level, _ in steps]
        if goal in RISING:
            axes.xaxis.set_major_formatter(_percent)
        else:
            axes.set_xscale("log" if max(reached) > 10 * min(reached) > 0 else "linear")
            axes.invert_xaxis()
        if axes.get_xscale() == "linear":
            axes.locator_params(axis="x", nbins=6)

    return draw


def _front(entries: list[Entry], points: list[pareto.Point], y: str, x: str) -> Draw:
    def draw(axes: Axes) -> None:
        over = pareto.dominators(points, [y, x])
        scale, label = axis(x, max(p[x] or 0.0 for p in points))
        best = []
        for i, (entry, p) in enumerate(zip(entries, points, strict=True)):
            a, b = p[x], p[y]
            if a is None or b is None:
                continue
            face = colour(entry.style) if over[i] is None else "none"
            best += [(a / scale, b)] if over[i] is None else []
            axes.plot(a / scale, b, marker=MARKERS[entry.style.symbol], markersize=6, markerfacecolor=face,
                      markeredgecolor=colour(entry.style))  # fmt: skip
        if best:
            axes.step(*zip(*sorted(best), strict=True), where="post", color="#808080", linestyle=":", zorder=0)
        _upright(axes, y, [b for p in points if (b := p[y]) is not None])
        if x.endswith("bytes"):
            axes.set_xscale("log")
        axes.set_xlabel(label)
        axes.set_ylabel(LABELS[y])

    return draw
