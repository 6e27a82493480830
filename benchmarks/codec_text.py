"""How a person reads the codec's figures: tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    every = [list(head), *map(list, rows)]
    width = [max(len(row[i]) for row in every) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width[i]) for i, cell in enumerate(row)) + " |" for row in every]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in width) + "|", *lines[1:]])


def sizes_text(title: str, rows: Sequence[Row]) -> str:
    """Three tables: bits per index; whole messages in float32 and in bfloat16."""
    sides = list(rows[0]["index_bytes"])
    parts = [f"\n{title}: bits per index (x log2 C(d, k))"]
    body = [[row["name"], *(_bits(row["index_bytes"], side, row["k"]) for side in sides)] for row in rows]
    parts.append(table(["message", *sides], body))
    for dtype in rows[0]["values"]:
        parts.append(f"\n{title}: bytes of a whole message in {dtype} (x bound); bits per value")
        body = []
        for row in rows:
            got, k = row["values"][dtype], row["k"]
            each = [f"{8 * got['value_bytes'][side] / k:.2f}" for side in ("bound", "ours")]
            body.append([row["name"], *(_bytes(got["bytes"], side) for side in sides), f"{row['framing']:.0f}", *each])
        parts.append(table(["message", *sides, "framing", "entropy", "our values"], body))
        if biased := [row for row in rows if row["values"][dtype]["entropy_is"] == "plug-in"]:
            worst = max(row["values"][dtype]["plug_in_bias"] for row in biased)
            parts.append(f"entropies are plug-in estimates, too low by up to {worst:.2f} bits where k is small")
    return "\n".join(parts)


def _bits(found: Row, side: str, k: int) -> str:
    ratio = "" if side == "bound" else f" ({found[side] / found['bound']:.3f})"
    return f"{8 * found[side] / k:.2f}{ratio}"


def _bytes(found: Row, side: str) -> str:
    ratio = "" if side == "bound" else f" ({found[side] / found['bound']:.3f})"
    return f"{found[side]:,.0f}{ratio}"


def speed_text(rows: Sequence[Row]) -> str:
    """Milliseconds and million entries per second of each side; and how many times ours is as fast."""
    body = []
    for row in rows:
        for way in ("encode", "decode"):
            found = row[f"{way}_s"]
            what = "decode and sum" if way == "decode" and row["summed"] else way
            ours = f"{1000 * found['ours']:.2f} ms, {row['entries'] / found['ours'] / 1e6:.0f} M/s"
            beside = [
                f"{found[side] / found['ours']:.2f}x" if side in found else "absent" for side in ("pcodec", "memcpy")
            ]
            body.append([row["name"], what, ours, *beside])
    heading = "\nspeed, one thread, bfloat16 (least of some repeats)"
    return heading + "\n" + table(["message", "", "ours", "as fast as pcodec alone", "as memcpy"], body)


def targets_text(rows: Sequence[Row]) -> str:
    """Each target with what was reached."""

    def number(x: float) -> str:
        return f"{x:.3f}" if x < 5 else f"{x:.1f}"

    body = [
        [
            row["what"],
            ("at least " if row["least"] else "at most ") + f"{row['limit']:g}",
            "not measured" if row["reached"] is None else number(row["reached"]),
            {True: "yes", False: "no", None: ""}[row["met"]],
        ]
        for row in rows
    ]
    return "\ntargets\n" + table(["", "asked for", "reached", "met"], body)
