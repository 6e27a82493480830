"""Curves and partitions as the report draws them: styles, thinning, label distributions.

Colours: Okabe and Ito, Color universal design, 2008, without yellow, which is lost on white; the last is
the colour of the text. Dashes and markers differ too, so that a figure can be read without colour;
an x is kept for what diverges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scenarios.units import finite

if TYPE_CHECKING:
    from pandas import DataFrame
    from plotly.graph_objects import Figure

INK = "ink"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", INK)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "pentagon")

X = {
    "round": "rounds",
    "uplink_bytes": "uplink bytes",
    "uplink_wire_bytes": "uplink on the wire",
    "virtual_seconds": "virtual time",
    "wall_seconds": "wall time",
}
Y = {
    "train_loss": "training loss",
    "grad_norm_sq": "squared gradient norm",
    "test_accuracy": "test accuracy",
    "invariant_error": "invariant error",
}
CLIENTS_SHOWN = 200
CLASSES_SHOWN = 64


@dataclass(frozen=True)
class Style:
    """How one method is drawn everywhere, in plotly's words; colour INK is the colour of the text."""

    colour: str
    dash: str
    symbol: str


def style(i: int) -> Style:
    """The i-th style; the first 7 differ in colour, and no two of the first 168 are the same."""
    turn = i // len(COLOURS)  # shifts the dash when the colours come round again
    return Style(COLOURS[i % 7], DASHES[(i + turn) % 6], SYMBOLS[i % 8])


def curves(rounds: DataFrame, points: int, more: Sequence[str] = ()) -> dict[str, list[float | None]]:
    """The columns of one method that the page draws, at most `points` rows, evenly taken, both ends kept.

    more: columns besides those of X and Y.

    Numbers have six significant digits; what is missing or not finite is None.
    """
    last = len(rounds) - 1
    keep = list(range(len(rounds))) if last < points else [i * last // (points - 1) for i in range(points)]
    table = rounds.iloc[keep]
    return {key: [_six(v) for v in table[key].tolist()] for key in (*X, *Y, *more)}


def _six(value: Any) -> float | None:
    number = finite(value)
    if number is None:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else float(f"{number:.6g}")


def notebook_figure(methods: Mapping[str, DataFrame], y: str, x: str) -> Figure:
    """One curve per method; bytes, gradient norms and errors on logarithmic axes."""
    from plotly.graph_objects import Figure, Scatter

    figure = Figure()
    for i, (label, rounds) in enumerate(methods.items()):
        look = style(i)
        colour = "#404040" if look.colour == INK else look.colour
        figure.add_trace(
            Scatter(
                x=rounds[x],
                y=rounds[y],
                name=label,
                mode="lines+markers",
                line={"color": colour, "dash": look.dash},
                marker={"symbol": look.symbol, "size": 7, "maxdisplayed": 12},
            )
        )
    figure.update_layout(
        template="plotly_white",
        xaxis={"title": X.get(x, x), "type": "log" if x.endswith("bytes") else "linear"},
        yaxis={"title": Y.get(y, y), "type": "log" if y in ("grad_norm_sq", "invariant_error") else "linear"},
    )
    if x.endswith("bytes"):
        figure.update_xaxes(tickformat="~s", ticksuffix="B")
    return figure


@dataclass(frozen=True)
class Labels:
    """A label distribution fit to be drawn.

    Attributes:
      columns: a name for each column: a client, or a group of like clients.
      classes: a name for each row.
      counts: samples per row and column, [classes][columns]; a mean over the group where there are groups.
      grouped: how many clients there are, where columns are groups; else None.
    """

    columns: tuple[str, ...]
    classes: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    grouped: int | None


def labels(classes: Sequence[str], label_counts: Sequence[Sequence[int]]) -> Labels:
    """`label_counts` (clients x classes) with at most 200 columns and 64 rows.

    Of more clients, those with a like mix are grouped (ordered by commonest class and its share):
    means over clients in the order of their ids would hide the very skew that is to be seen.
    """
    names, table = _fewer_classes([str(c) for c in classes], [list(row) for row in label_counts])
    n = len(table)
    if n <= CLIENTS_SHOWN:
        return Labels(tuple(str(i) for i in range(n)), tuple(names), tuple(zip(*table, strict=True)), None)

    def mix(row: list[int]) -> tuple[int, float]:
        top = max(range(len(row)), key=row.__getitem__)
        return top, -row[top] / max(sum(row), 1)

    table.sort(key=mix)
    ends = [i * n // CLIENTS_SHOWN for i in range(CLIENTS_SHOWN + 1)]
    groups = [table[a:b] for a, b in pairwise(ends)]
    means = [[round(sum(c) / len(g), 2) for c in zip(*g, strict=True)] for g in groups]
    columns = tuple(f"group {i}" for i in range(1, CLIENTS_SHOWN + 1))
    return Labels(columns, tuple(names), tuple(zip(*means, strict=True)), n)


def _fewer_classes(names: list[str], table: list[list[int]]) -> tuple[list[str], list[list[int]]]:
    """The commonest classes, the rest as one."""
    if len(names) <= CLASSES_SHOWN:
        return names, table
    totals = [sum(column) for column in zip(*table, strict=True)]
    order = sorted(range(len(names)), key=lambda j: -totals[j])
    keep, rest = sorted(order[: CLASSES_SHOWN - 1]), order[CLASSES_SHOWN - 1 :]
    few = [[row[j] for j in keep] + [sum(row[j] for j in rest)] for row in table]
    return [names[j] for j in keep] + [f"{len(rest)} others"], few
