"""What the wire format was asked to reach, beside what it reached."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.codec_speed import ROUND, SERVER

Row = dict[str, Any]
SMALL = 16_384  # coordinates, below which the framing must be smaller


def index_ratio(row: Row) -> float:
    """Index bytes over log2 C(d, k)."""
    return float(row["index_bytes"]["ours"] / row["index_bytes"]["bound"])


def whole_ratio(row: Row, dtype: str = "bfloat16") -> float:
    """A payload's bytes over log2 C(d, k) and the entropy of its values."""
    size = row["values"][dtype]["bytes"]
    return float(size["ours"] / size["bound"])


def rate(row: Row, way: str) -> float:
    """Million entries per second: of `encode_s` or `decode_s`."""
    return float(row["entries"] / row[way]["ours"] / 1e6)


def target(what: str, limit: float, found: Iterable[float], over: Callable[[Sequence[float]], float] = max) -> Row:
    """One line: `over` what was found; nothing where nothing was measured. A minimum is a least, others a most."""
    values = list(found)
    reached = over(values) if values else None
    least = over is min
    met = None if reached is None else reached >= limit if least else reached <= limit
    return {"what": what, "limit": limit, "least": least, "reached": reached, "met": met}


def geometric(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def targets(uniform: Sequence[Row], real: Sequence[Row], speed: Sequence[Row]) -> list[Row]:
    """All of them. Uniform supports and framing: the worst; real messages: the geometric mean, and the worst."""
    lines = [
        target(
            f"indices, uniform, k >= {least:,}: x log2 C", limit, [index_ratio(r) for r in uniform if r["k"] >= least]
        )
        for least, limit in ((64, 1.03), (1000, 1.015), (10_000, 1.01))
    ]
    for dtype in ("bfloat16", "float32"):
        found = [whole_ratio(row, dtype) for row in uniform if row["k"] >= 1000]
        lines.append(target(f"whole, uniform, k >= 1,000, {dtype}: x bound", 1.03, found))
    for live in (False, True):
        large = [row for row in real if row["k"] >= 1000 and row["live"] == live]
        lines += real_targets("live inputs" if live else "dead inputs", large)
    rows = [*uniform, *real]
    lines += [
        target(f"framing, d < {SMALL:,}: bytes", 22, [row["framing"] for row in rows if row["d"] < SMALL]),
        target("framing, always: bytes", 30, [row["framing"] for row in rows]),
    ]
    return lines + speed_targets(speed)


def real_targets(inputs: str, large: Sequence[Row]) -> list[Row]:
    """Of real messages with k >= 1,000, from images of one sort."""
    lines = []
    for name, over in (("mean", geometric), ("worst", max)):
        lines.append(target(f"indices, {inputs}, {name}: x log2 C", 0.80, map(index_ratio, large), over))
        layered = [row["layered_index_bytes"] / row["index_bytes"]["bound"] for row in large]
        lines.append(target(f"indices, layer-aware, {inputs}, {name}: x log2 C", 0.70, layered, over))
        for dtype in ("bfloat16", "float32"):
            found = [whole_ratio(row, dtype) for row in large]
            lines.append(target(f"whole, {inputs}, {dtype}, {name}: x bound", 0.92, found, over))
    return lines


def speed_targets(speed: Sequence[Row]) -> list[Row]:
    """Entries per second of single messages, and milliseconds of rounds."""
    single = [row for row in speed if not row["summed"] and row["k"] >= 100_000]

    def ms(shape: tuple[int, int, int], way: str) -> list[float]:
        return [1000 * row[way]["ours"] for row in speed if (row["d"], row["k"], row["clients"]) == shape]

    return [
        target("encode, k >= 100,000: M entries/s", 60, [rate(row, "encode_s") for row in single], min),
        target("decode, k >= 100,000: M entries/s", 250, [rate(row, "decode_s") for row in single], min),
        target("1,000 clients, d = 7,850, k = 78, encode: ms", 10, ms(ROUND, "encode_s")),
        target("1,000 clients, d = 7,850, k = 78, decode and sum: ms", 15, ms(ROUND, "decode_s")),
        target("1,000 clients, d = 1,000,000, k = 10,000, decode and sum: ms", 80, ms(SERVER, "decode_s")),
    ]
