"""A timeline as a trace for ui.perfetto.dev and chrome://tracing: a process for each method, a track for each client.

The JSON Array/Object format of the Trace Event Format (Google, 2016): `X` events with `ts` and `dur` in microseconds,
here of virtual time, and `M` events with names.
"""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fl_ef21.errors import InputError
from scenarios import timeline

if TYPE_CHECKING:
    from pandas import DataFrame

Event = dict[str, Any]
# name, where it begins and ends, which figure of the row it tells, and as what
_SPANS = (
    ("download", "begins", "downloaded", "down_bytes", "bytes"),
    ("compute", "downloaded", "computed", "joules", "joules in all"),
    ("upload", "computed", "arrives", "up_bytes", "bytes"),
)
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode  # json.dumps would make one for each event
ROUNDS = 0  # the track of a method's rounds; client i has track i + 1


def write(folder: Path, out: Path | None = None) -> Path:
    """Writes the trace of a run folder to `out`, else to trace.json in the folder, and returns where. A name that ends
    with .gz is compressed, which Perfetto reads too.

    Raises: InputError where the run has no timeline or it is broken.
    """
    frame = timeline.read(folder)
    if frame is None:
        advice = "is not there; a simulation with [devices] keeps it"
        raise InputError(str(folder / timeline.NAME), None, advice)
    path = folder / "trace.json" if out is None else out
    scratch = path.with_name(f".{path.name}")
    try:
        with _opened(scratch, path.suffix == ".gz") as file:
            _dump(file, events(frame))
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def _opened(path: Path, packed: bool) -> TextIO:
    return gzip.open(path, "wt", encoding="utf-8") if packed else path.open("w", encoding="utf-8")


def _dump(file: TextIO, found: Iterator[Event]) -> None:
    """One event a line: a million of them are never in memory."""
    file.write('{"displayTimeUnit":"ms","otherData":{"clock":"virtual"},"traceEvents":[')
    for i, event in enumerate(found):
        file.write(",\n" if i else "\n")
        file.write(_encode(event))
    file.write("\n]}\n")


def events(frame: DataFrame) -> Iterator[Event]:
    """All of them, method by method."""
    for pid, (label, rows) in enumerate(frame.groupby("method", sort=False), 1):
        yield _name(pid, ROUNDS, "process_name", str(label))
        yield _name(pid, ROUNDS, "thread_name", "rounds")
        for client in sorted(set(rows["client"].tolist())):
            yield _name(pid, client + 1, "thread_name", f"client {client}")
            yield {
                "ph": "M",
                "pid": pid,
                "tid": client + 1,
                "name": "thread_sort_index",
                "args": {"sort_index": client + 1},
            }
        yield from _rounds(pid, rows)
        for row in rows.itertuples(index=False, name=None):
            yield from _spans(pid, dict(zip(frame.columns, row, strict=True)))


def _name(pid: int, tid: int, kind: str, name: str) -> Event:
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "args": {"name": name}}


def _rounds(pid: int, rows: DataFrame) -> Iterator[Event]:
    """A span for each round, from when it asked until the next one did, the last one until its last reply was there."""
    asked = rows.groupby("round")["asked"].min().sort_index()
    last = rows[rows["round"] == asked.index[-1]]
    over = max(float(asked.iloc[-1]), _latest(last))
    each, used = rows.groupby("round").size(), rows[rows["used_round"] >= 0].groupby("used_round").size()
    for number, start, end in zip(asked.index, asked, [*asked.iloc[1:], over], strict=True):
        counts = {"asked": int(each[number]), "used": int(used.get(number, 0))}
        yield _span(pid, ROUNDS, f"round {number}", "round", (float(start), float(end)), counts)
        yield {"ph": "i", "s": "p", "pid": pid, "tid": ROUNDS, "ts": _micro(start), "name": f"round {number} asks",
               "cat": "round"}  # fmt: skip


def _latest(rows: DataFrame) -> float:
    heard = rows["arrives"].max()
    return float(heard) if math.isfinite(heard) else -math.inf


def _spans(pid: int, row: dict[str, Any]) -> Iterator[Event]:
    fate = {"round": row["round"], "fate": row["fate"]} | (
        {"used in": row["used_round"]} if row["fate"] == "later" else {}
    )
    times = [row[key] for key in ("begins", "downloaded", "computed", "arrives")]
    for name, start, end, figure, what in _SPANS:
        if math.isfinite(row[start]) and math.isfinite(row[end]):
            told = fate | ({what: row[figure]} if math.isfinite(row[figure]) else {})
            yield _span(pid, row["client"] + 1, name, row["fate"], (row[start], row[end]), told)
    there = [t for t in times if math.isfinite(t)]
    if row["fate"] not in ("used", "later") and there:
        words = f"round {row['round']}: {timeline.FATES[row['fate']]}"
        yield {"ph": "i", "s": "t", "pid": pid, "tid": row["client"] + 1, "ts": _micro(max(there)), "name": words,
               "cat": row["fate"]}  # fmt: skip


def _span(pid: int, tid: int, name: str, category: str, ends: tuple[float, float], told: Event) -> Event:
    start, end = map(_micro, ends)
    return {"ph": "X", "pid": pid, "tid": tid, "ts": start, "dur": end - start, "name": name, "cat": category,
            "args": told}  # fmt: skip


def _micro(seconds: float) -> int:
    return round(1e6 * seconds)
