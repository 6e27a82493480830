"""Bytes to target: the uplink each method paid for a gradient norm or loss, and for the uncompressed method's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.sections import Entry
from scenarios.targets import SMOOTH, bytes_within, frontier, smoothed

WITHIN = 1.05  # of the uncompressed method's final gradient norm
_GOALS = (
    ("grad_norm_sq", "Gradient norm", "target for the norm of the full gradient ‖∇f(x)‖", ".3~g"),
    ("train_loss", "Training loss", "target for f(x) over all samples of all clients", ".4~g"),
)


@dataclass(frozen=True)
class Goal:
    """The uncompressed method's final gradient norm, within 5 %.

    Attributes:
      of: that method; of several the one that came lowest.
      norm: the target, `WITHIN` times its final smoothed norm.
      paid: the fewest uplink bytes with which an uncompressed method was there.
    """

    of: Entry
    norm: float
    paid: int

    def bytes(self, entry: Entry) -> int | None:
        """What a method paid to be there, None where it never was."""
        return bytes_within(entry.rounds, "grad_norm_sq", self.norm**2)


def goal(entries: Sequence[Entry]) -> Goal | None:
    """None where no uncompressed method got through."""
    finals: dict[int, float] = {}
    for i, entry in enumerate(entries):
        if entry.sound and entry.uncompressed:
            curve = smoothed(entry.rounds, "grad_norm_sq")
            finals |= {i: curve[-1][0]} if curve else {}
    if not finals:
        return None
    best = min(finals, key=lambda i: finals[i])
    norm = WITHIN * math.sqrt(finals[best])
    paid = [bytes_within(entries[i].rounds, "grad_norm_sq", norm**2) for i in finals]
    return Goal(entries[best], norm, min(p for p in paid if p is not None))


def section_body(entries: Sequence[Entry]) -> str:
    """Figures and table, as HTML."""
    if all(entry.rounds.empty for entry in entries):
        return "<p>No round was evaluated.</p>"
    found = goal(entries)
    how = (
        f"A target counts as reached when the median of a method's last {SMOOTH} evaluations is at or below it; "
        "bytes are those of the uplink until then, all clients together. Targets get harder to the right."
    )
    drawn = "".join(
        f'<figure><figcaption><h3>{title}</h3><p>{what}</p></figcaption><div class="plot" role="img" '
        f'aria-label="Uplink bytes of each method against its {title.lower()}" data-goal="{key}" data-hover="{hover}" '
        f'data-at="{found.norm if found and key == "grad_norm_sq" else ""}"></div></figure>'
        for key, title, what, hover in _GOALS
        if any(frontier(entry.rounds, key) for entry in entries)
    )
    return f'<p>{how}</p><div class="figures">{drawn}</div>{_table(entries, found) if found else ""}'


def _table(entries: Sequence[Entry], found: Goal) -> str:
    paid = [found.bytes(entry) for entry in entries]
    least = min((v for v in paid if v is not None), default=None)
    head = (
        '<th scope="col" class="text">method</th><th scope="col" class="text">compressor</th>'
        '<th scope="col">rounds</th><th scope="col">uplink</th><th scope="col">fewer bytes</th>'
    )
    rows = [
        f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>'
        f"<td class=text>{e(str(entry.method.get('compressor') or units.NONE))}</td>"
        f"<td>{units.count(_round(entry, cost))}</td>"
        f"<td{' class=best' if cost is not None and cost == least else ''}>"
        f"{'not reached' if cost is None else units.size(cost)}</td>"
        f"<td>{units.times(units.ratio(found.paid, cost))}</td></tr>"
        for entry, cost in zip(entries, paid, strict=True)
    ]
    caption = (
        f"Uplink to a gradient norm of {units.short(found.norm, 3)}: {found.of.label}'s last, uncompressed, within 5 %"
    )
    return sections.scrolling_table(caption, head, rows)


def _round(entry: Entry, paid: int | None) -> int | None:
    """The round after which a method had paid so much."""
    return None if paid is None else int(entry.rounds["round"][entry.rounds["uplink_bytes"] >= paid].iloc[0])


def curves(entry: Entry, points: int) -> dict[str, list[list[float]]]:
    """For each goal the levels a method reached and the bytes it had paid, fit to be drawn and at most `points`."""
    drawn: dict[str, list[list[float]]] = {}
    for key, *_ in _GOALS:
        found = frontier(entry.rounds, key)
        last = len(found) - 1
        keep = found if last < points else [found[i * last // (points - 1)] for i in range(points)]
        levels = [math.sqrt(level) if key == "grad_norm_sq" else level for level, _ in keep]
        drawn[key] = [[float(f"{level:.6g}") for level in levels], [paid for _, paid in keep]]
    return drawn


def to_table(entries: Sequence[Entry]) -> list[Any]:
    """What each method paid for the uncompressed method's gradient norm, NaN where it never was there."""
    found = goal(entries)
    paid = [found.bytes(entry) if found else None for entry in entries]
    return [float("nan") if cost is None else float(cost) for cost in paid]
