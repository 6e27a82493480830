"""What others would have sent: shadow compressors in the report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as e
from typing import Any

from fl_ef21.shadow import OWN
from scenarios import sections, units
from scenarios.results import Result
from scenarios.sections import Entry

Row = dict[str, Any]


def means(result: Result, entry: Entry) -> list[Row]:
    """Of one method, for each shadow: payload bytes and kept energy as means over the rounds, and alpha."""
    of = result.shadow[result.shadow["method"] == entry.method["label"]]
    return [
        {"shadow": word, "bytes": units.finite(rows["payload_bytes"].mean()),
         "kept": units.finite(rows["kept_energy"].mean()), "alpha": units.finite(rows["alpha"].iloc[-1])}
        for word, rows in of.groupby("shadow", sort=False)
    ]  # fmt: skip


def points(result: Result, entries: Sequence[Entry]) -> list[list[Row]]:
    """What the figure draws: for each method what its shadows cost and kept."""
    return [means(result, entry) for entry in entries]


def section_body(result: Result, entries: Sequence[Entry]) -> str:
    """Figure and table, as HTML; empty where no scenario asked for shadows."""
    if result.shadow.empty:
        return ""
    told = (
        "On the way each method went, other compressors were given the very vectors that its own was given, and their "
        "messages encoded and thrown away. Kept energy is 1 − |C(u) − u|² / |u|², a mean over clients and evaluated "
        "rounds; below zero is worse than sending nothing, and is not drawn. A better compressor here need not "
        "train better: with it, the vectors would have been others."
    )
    figure = (
        "<figure><figcaption><h3>Kept energy</h3><p>against bytes of a message; filled: the method's own</p>"
        '</figcaption><div class="plot" role="img" aria-label="Kept energy against bytes; the table below has the '
        'numbers" data-shadows="yes"></div></figure>'
    )
    return f"<p>{told}</p>{figure}{_table(result, entries)}"


def _table(result: Result, entries: Sequence[Entry]) -> str:
    head = '<th scope="col" class="text">method</th><th scope="col" class="text">compressor</th>' + "".join(
        f'<th scope="col">{name}</th>' for name in ("message", "of its own", "kept energy", "α claimed")
    )
    rows = []
    for entry in entries:
        told = means(result, entry)
        own = next((row["bytes"] for row in told if row["shadow"] == OWN), None)
        for row in told:
            word = row["shadow"]
            name = f"its own, {entry.method.get('compressor') or units.NONE}" if word == OWN else word
            cells = (
                units.size(row["bytes"]), units.times(units.ratio(row["bytes"], own)),
                units.percent(row["kept"]), units.short(row["alpha"], 3),
            )  # fmt: skip
            rows.append(
                f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th><td class=text>{e(name)}</td>'
                + "".join(f"<td>{e(cell)}</td>" for cell in cells)
                + "</tr>"
            )
    return sections.scrolling_table("What the same vectors would have cost and kept", head, rows)
