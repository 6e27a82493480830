"""What a summary says of faults that were made on purpose, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any


def sentence(summary: Mapping[str, Any]) -> str:
    """Which faults, how many of each, and what was refused after them; empty where there were none to be."""
    chaos = summary.get("chaos")
    if not chaos:
        return ""
    done = ", ".join(f"{count} {word}" for word, count in chaos["done"].items()) or "none came about"
    reasons = Counter[str]()
    for method in summary["methods"]:
        reasons.update(method.get("rejected_reasons") or {})
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f"disturbed by {chaos['words']}: {done}" + (f"; replies refused: {refused}" if refused else "")
