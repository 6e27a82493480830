"""Which methods nobody beats: accuracy or loss against uplink bytes and virtual time, all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape as e

from scenarios import sections, units
from scenarios.sections import Entry
from scenarios.targets import RISING, smoothed

Point = Mapping[str, float | None]
X = {
    "uplink_bytes": "uplink bytes",
    "uplink_wire_bytes": "uplink on the wire",
    "virtual_seconds": "virtual time",
    "wall_seconds": "wall time",
}
Y = {"test_accuracy": "test accuracy", "train_loss": "training loss", "grad_norm_sq": "squared gradient norm"}


def point(entry: Entry) -> Point:
    """Where a method came to: of X its last figure, of Y the median of its last evaluations; None where it has none."""
    found: dict[str, float | None] = {}
    for key in X:
        column = [v for value in entry.rounds[key].tolist() if (v := units.finite(value)) is not None]
        found[key] = column[-1] if column else None
    for key in Y:
        curve = smoothed(entry.rounds, key, "round")
        found[key] = curve[-1][0] if curve else None
    return found


def measured(points: Sequence[Point], keys: Mapping[str, str]) -> dict[str, str]:
    """Those of `keys` that some point has."""
    return {key: name for key, name in keys.items() if any(p[key] is not None for p in points)}


def dominators(points: Sequence[Point], axes: Sequence[str]) -> list[int | None]:
    """For each point one that is at least as good on every axis and better on one, None where there is none: it is on
    the front. A point without a figure on one of the axes is neither compared nor on the front: it is its own.
    """
    table = [[_least(p[key], key) for key in axes] for p in points]
    found: list[int | None] = []
    for i, mine in enumerate(table):
        if None in mine:
            found.append(i)
            continue
        better = (j for j, other in enumerate(table) if None not in other and other != mine and _no_worse(other, mine))
        found.append(next(better, None))
    return found


def _least(value: float | None, key: str) -> float | None:
    return None if value is None else -value if key in RISING else value


def _no_worse(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    return all(x is not None and y is not None and x <= y for x, y in zip(a, b, strict=True))


def section_body(entries: Sequence[Entry]) -> str:
    """Figure and table, as HTML; empty where fewer than two methods got through."""
    sound = [entry for entry in entries if entry.sound]
    points = [point(entry) for entry in sound]
    xs, ys = measured(points, X), measured(points, Y)
    if len(sound) < 2 or not xs or not ys:
        return ""
    words = (
        "<p>Each method where it came to in the end, the median of its last evaluations. Filled signs are on the "
        "front: no method shown is at least as good on both axes and better on one. Methods that diverged or "
        "failed are left out.</p>"
    )
    controls = (
        f'<div class="choices">{sections.segments("pareto-y", "reached", ys)}'
        f"{sections.segments('pareto-x', 'paid', xs)}</div>"
    )
    figure = (
        "<figure><figcaption><h3>Pareto front</h3><p>the dotted line bounds what the methods shown can have</p>"
        '</figcaption><div class="plot" role="img" aria-label="What methods reached against what they paid; below '
        f'is a table" data-pareto="yes" data-x="{next(iter(xs))}" data-reached="{next(iter(ys))}"></div></figure>'
    )
    return words + controls + figure + _table(sound, points, xs, ys)


def _table(entries: Sequence[Entry], points: Sequence[Point], xs: Mapping[str, str], ys: Mapping[str, str]) -> str:
    goal = next(iter(ys))
    axes = [goal] + [key for key in ("uplink_bytes", "virtual_seconds") if key in xs]
    over = dominators(points, axes)
    names = {**xs, **ys}
    head = '<th scope="col" class="text">method</th>' + "".join(f'<th scope="col">{names[key]}</th>' for key in axes)
    head += '<th scope="col" class="text">on the front</th>'
    rows = [
        f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>'
        + "".join(f"<td>{told(p[key], key)}</td>" for key in axes)
        + f"<td class=text>{_verdict(entries, i, j)}</td></tr>"
        for i, (entry, p, j) in enumerate(zip(entries, points, over, strict=True))
    ]
    return sections.scrolling_table(f"The front in {', '.join(names[key] for key in axes)} together", head, rows)


def _verdict(entries: Sequence[Entry], i: int, j: int | None) -> str:
    return "yes" if j is None else units.NONE if i == j else f"no: {e(entries[j].label)} is no worse anywhere"


def told(value: float | None, key: str) -> str:
    """A figure of X or Y as people read it."""
    if key == "test_accuracy":
        return units.percent(value)
    return units.size(value) if "bytes" in key else units.seconds(value) if "seconds" in key else units.short(value)
