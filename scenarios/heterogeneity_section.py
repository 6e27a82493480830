"""The report's table on how different the clients are."""

from __future__ import annotations

from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.results import Result

_ROWS = (  # key, name, what it is
    ("label_tv", "label distance, total variation", "of a client's labels to all, in the mean; 0 alike, 1 disjoint"),
    ("label_js", "label distance, Jensen–Shannon", "likewise, in bits"),
    ("label_hellinger", "label distance, Hellinger", "likewise"),
    ("classes_per_client", "classes of a client", "in the mean"),
    ("size_gini", "Gini index of sizes", "0 where all hold as many samples, 1 − 1/n where one holds all"),
    ("gradient_dissimilarity", "gradient dissimilarity at x⁰", "Σ wᵢ ‖∇fᵢ(x⁰) − ∇f(x⁰)‖², the ζ² of theory"),
    ("gradient_dissimilarity_relative", "… over ‖∇f(x⁰)‖²", "above 1 clients pull more apart than together"),
    ("speed_p90_p10", "speeds, 90 % over 10 %", "quantiles of the devices' step times"),
    ("slowness_rarity_correlation", "slow devices own rare classes", "rank correlation, from −1 to 1"),
)  # fmt: skip


def section_body(result: Result) -> str:
    """A table, as HTML; empty where nothing was measured."""
    found: dict[str, Any] = result.summary.get("heterogeneity") or {}
    rows = [
        f'<tr><th scope="row">{e(name)}</th><td>{e(units.short(found[key], 3))}</td><td class=text>{e(what)}</td></tr>'
        for key, name, what in _ROWS
        if found.get(key) is not None
    ]
    if not rows:
        return ""
    head = '<th scope="col">measure</th><th scope="col">value</th><th scope="col" class="text">what it is</th>'
    told = "" if found.get("dial") is None else f"<p>The dial stood at {found['dial']:g}.</p>"
    return told + sections.scrolling_table("How different clients are", head, rows)
