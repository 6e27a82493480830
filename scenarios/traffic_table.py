"""The report's section on bytes: what each method sent in three layers, and the least that its messages could take."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.sections import Entry

_HEAD = ("algorithm bits", "payload", "on the wire", "bound", "payload / bound")
_WORDS = (
    "<p>Algorithm bits are what papers count: 32 a number, indices free. The payload is what is handed to Flower; on "
    "the wire are all bytes that its deployment sends in that direction for it, requests, responses and their heads "
    "included, without an idle node's polls. The bound is log₂ C(d, k) and the order-0 entropy of the values.</p>"
)


def traffic_table(entries: Sequence[Entry]) -> str:
    """Two rows per method, up and down, as HTML; empty where no run kept account."""
    rows = [
        _row(entry, way, layers)
        for entry in entries
        for way in ("uplink", "downlink")
        if (layers := (entry.method.get("traffic") or {}).get(way)) is not None
    ]
    if not rows:
        return ""
    head = '<th scope="col" class="text">method</th><th scope="col" class="text">direction</th>'
    head += "".join(f'<th scope="col">{name}</th>' for name in _HEAD)
    return _WORDS + sections.scrolling_table("All rounds of each method", head, rows)


def _row(entry: Entry, way: str, layers: dict[str, Any]) -> str:
    payload, bound = layers.get("payload_bytes"), layers.get("bound_bytes")
    ratio = units.ratio(payload, bound)
    cells = (
        units.count(layers.get("algorithm_bits")), units.size(payload), units.size(layers.get("wire_bytes")),
        units.size(bound), units.NONE if ratio is None else f"{ratio:.3f}",
    )  # fmt: skip
    numbers = "".join(f"<td>{e(cell)}</td>" for cell in cells)
    name = f'<th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>'
    return f"<tr>{name}<td class=text>{way}</td>{numbers}</tr>"
