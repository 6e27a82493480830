"""Figures for papers about devices: who took part, a Gantt chart, energy, staleness, who holds what. See `paper`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scenarios import devices_section, timeline
from scenarios.figures import Labels, labels
from scenarios.figures_timeline import LETTERS, LOOKS, SHADES, Gantt, Participation, gantt, participation
from scenarios.folder import folder_name
from scenarios.paper import Plate, axis, colour
from scenarios.results import Result
from scenarios.sections import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FATE_COLOURS = {fate: look.colour for fate, look in LOOKS.items()}
# part, where it begins and ends in a span, colour, hatch
_PARTS = (
    ("download", 2, 3, "#56B4E9", "////"),
    ("compute", 3, 4, "#0072B2", ""),
    ("upload", 4, 5, "#E69F00", "\\\\\\\\"),
)
_JOULES = (("compute", "#0072B2", ""), ("radio", "#E69F00", "////"), ("idle", "#8A8F98", "...."))
_ROUNDS, _CLIENTS = 3, 24  # of a Gantt chart on paper
_WHITE = "#ffffff"


def of_methods(entries: list[Entry]) -> Iterator[Plate]:
    """Energy and staleness, where there are numbers for them."""
    if any(map(devices_section.energy, entries)):
        yield Plate("energy", lambda axes: _energy(axes, entries))
    if any(map(devices_section.staleness, entries)):
        yield Plate("staleness", lambda axes: _staleness(axes, entries), methods=entries)


def of_clients(result: Result) -> Iterator[Plate]:
    """Who took part in a run and when, and who holds what, where there are numbers for it."""
    frame = timeline.read(result.folder)
    for label, rows in () if frame is None else frame.groupby("method", sort=False):
        name = folder_name(str(label))
        drawn, spans = participation(rows), gantt(rows)
        yield Plate(f"participation-{name}", lambda axes, drawn=drawn: _map(axes, drawn))  # type: ignore[misc]
        yield Plate(f"gantt-{name}", lambda axes, spans=spans: _gantt(axes, spans), 0.9)  # type: ignore[misc]
    held = result.summary.get("partition") or {}
    if held.get("label_counts") and held.get("classes"):
        spread = labels(held["classes"], held["label_counts"])
        yield Plate("partition", lambda axes: _partition(axes, spread))


def _map(axes: Axes, p: Participation) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Patch

    across = (p.rounds[0] - p.width / 2, p.rounds[-1] + p.width / 2)
    extent = (*across, len(p.rows) + 0.5, 0.5)
    axes.grid(False)
    axes.set_xlabel("round")
    if not p.cells:
        axes.set_ylabel(f"{p.clients:,} clients, quickest on top")
        used = [[100 * p.most * SHADES.index(c) / (len(SHADES) - 1) for c in row] for row in p.used]
        image = axes.imshow(used, aspect="auto", extent=extent, cmap="Blues", vmin=0, interpolation="nearest")
        assert axes.figure is not None
        axes.figure.colorbar(image, ax=axes, label="% of clients and rounds used")
        return
    axes.set_ylabel("clients, quickest on top")
    codes = [[0 if c == "." else 1 + list(LETTERS.values()).index(c) for c in row] for row in p.cells]
    shades = ListedColormap([_WHITE, *FATE_COLOURS.values()])
    norm = BoundaryNorm([i - 0.5 for i in range(len(FATE_COLOURS) + 2)], shades.N)
    axes.imshow(codes, aspect="auto", extent=extent, cmap=shades, norm=norm, interpolation="nearest")
    seen = {c for row in p.cells for c in row}
    key = [
        Patch(color=FATE_COLOURS[fate], label=words) for fate, words in timeline.FATES.items() if LETTERS[fate] in seen
    ]
    axes.legend(handles=key, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, handlelength=1)


def _gantt(axes: Axes, g: Gantt) -> None:
    rounds = g.rounds[:_ROUNDS]
    inside = [s for s in g.spans if s[1] <= rounds[-1][0]]
    places = sorted({s[0] for s in inside})
    last = len(places) - 1
    rows = places if last < _CLIENTS else [places[i * last // (_CLIENTS - 1)] for i in range(_CLIENTS)]
    at = {place: i for i, place in enumerate(rows)}
    scale, label = axis("virtual_seconds", rounds[-1][2] - rounds[0][1])
    hair = 0.004 * (rounds[-1][2] - rounds[0][1])  # seconds of work among hours of waiting are seen
    for name, a, b, shade, hatch in _PARTS:
        had = [s for s in inside if s[0] in at and s[a] is not None and s[b] is not None]
        long, starts = [max(s[b] - s[a], hair) / scale for s in had], [s[a] / scale for s in had]
        axes.barh([at[s[0]] for s in had], long, left=starts, height=0.75, color=shade, hatch=hatch, edgecolor=_WHITE,
                  linewidth=0, label=name)  # fmt: skip
    for fate, mark in (("late", "x"), ("lost", "X"), ("surplus", "P"), ("later", ">"), ("busy", "d")):
        ends = [(max(t for t in s[2:6] if t is not None), at[s[0]]) for s in inside
                if s[6] == fate and s[0] in at and any(t is not None for t in s[2:6])]  # fmt: skip
        if ends:
            axes.scatter([t / scale for t, _ in ends], [row for _, row in ends], marker=mark, s=14, zorder=3,
                         color=FATE_COLOURS[fate], label=timeline.FATES[fate])  # fmt: skip
    for edge in [*(r[1] for r in rounds), rounds[-1][2]]:
        axes.axvline(edge / scale, color="#404040", linewidth=0.6, linestyle=":")
    axes.set_yticks(range(len(rows)), [str(g.clients[i]) for i in rows])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_ylabel("client")
    axes.set_xlabel(label)
    axes.set_xlim(rounds[0][1] / scale, (rounds[-1][2] + 5 * hair) / scale)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, handlelength=1.4)


def _energy(axes: Axes, entries: list[Entry]) -> None:
    bars: list[tuple[str, dict[str, float]]] = []
    told = [(entry, found) for entry in entries if (found := devices_section.energy(entry))]
    for kind in sorted({kind for _, found in told for kind in found}):
        mine = [(entry, found[kind]) for entry, found in told if kind in found]
        bars += [(f"{kind}\n{entry.label}" if len(told) > 1 else kind, joules) for entry, joules in mine]
    base = [0.0] * len(bars)
    for part, shade, hatch in _JOULES:
        tall = [joules[part] for _, joules in bars]
        axes.bar(
            range(len(bars)), tall, bottom=base, color=shade, hatch=hatch, edgecolor=_WHITE, linewidth=0, label=part
        )
        base = [a + b for a, b in zip(base, tall, strict=True)]
    axes.set_xticks(range(len(bars)), [name for name, _ in bars], rotation=90 if len(bars) > 6 else 0)
    axes.grid(False, axis="x")
    axes.set_ylabel("energy, J")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, handlelength=1.4)


def _staleness(axes: Axes, entries: list[Entry]) -> None:
    told = [(entry, found) for entry in entries if (found := devices_section.staleness(entry))]
    width = 0.8 / len(told)
    for i, (entry, found) in enumerate(told):
        all_ = sum(count for _, count in found)
        axes.bar([age + (i - (len(told) - 1) / 2) * width for age, _ in found], [count / all_ for _, count in found],
                 width=width, color=colour(entry.style))  # fmt: skip
    axes.grid(False, axis="x")
    _whole(axes)
    axes.set_xlabel("server steps since the model it is of")
    axes.set_ylabel("share of used replies")


def _whole(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _partition(axes: Axes, spread: Labels) -> None:
    axes.grid(False)
    image: Any = axes.imshow(spread.counts, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest")
    _whole(axes)
    axes.set_xlabel("clients with a like mix, grouped" if spread.grouped else "client")
    axes.set_yticks(range(len(spread.classes)), list(spread.classes))
    axes.set_ylabel("class")
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, label="samples")
