"""Final figures as an aligned table of text, in human units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scenarios import units

COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (  # key, heading, how it is written
    ("run", "run", str),
    ("label", "method", str),
    ("compressor", "compressor", str),
    ("status", "status", str),
    ("rounds", "rounds", units.count),
    ("train_loss", "train loss", units.short),
    ("grad_norm_sq", "|grad f|^2", units.short),
    ("test_accuracy", "test accuracy", units.percent),
    ("worst_decile_accuracy", "worst decile", units.percent),
    ("uplink_bytes", "uplink", units.size),
    ("saving", "saved", units.times),
    ("bytes_to_train_loss", "to common loss", units.size),
    ("bytes_to_grad_norm_sq", "to common |grad f|^2", units.size),
    ("bytes_to_uncompressed", "to uncompressed |grad f|", units.size),
    ("bytes_to_accuracy", "to common accuracy", units.size),
    ("seconds_to_accuracy", "time to it", units.seconds),
    ("wall_seconds", "time", units.seconds),
)
FILLED = ("worst_decile_accuracy", "bytes_to_accuracy", "seconds_to_accuracy")  # left out where nobody has a number
WORDS = ("run", "label", "compressor", "status")  # left-aligned; numbers are right-aligned


def _has(row: Mapping[Any, Any], key: str) -> bool:
    return key in row and (key not in FILLED or units.finite(row[key]) is not None)


def final_figures(methods: Sequence[Mapping[Any, Any]]) -> str:
    """One line per method of a summary or of a table's records; below it, why a method ended early."""
    rows = [
        {**m, "saving": units.ratio(m.get("dense_uplink_bytes"), m.get("uplink_bytes")),
         "label": m.get("label", m.get("method"))}
        for m in methods
    ]  # fmt: skip
    shown = [column for column in COLUMNS if any(_has(row, column[0]) for row in rows)]
    cells = [[heading for _, heading, _ in shown]]
    cells += [[write(row.get(key)) for key, _, write in shown] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(shown))]
    lines = [
        "  ".join(
            text.ljust(width) if key in WORDS else text.rjust(width)
            for text, width, (key, _, _) in zip(line, widths, shown, strict=True)
        ).rstrip()
        for line in cells
    ]
    reasons = [f"{row['label']} {row['status']}: {row['reason']}" for row in rows if row.get("reason")]
    return "\n".join(lines + ([""] + reasons if reasons else []))
