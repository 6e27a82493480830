"""A run folder with a timeline, devices and staleness whose figures can be told by heart, for the tests of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from pandas import DataFrame

from scenarios import fairness_file, timeline
from tests.scenarios.run_folder import make, rows

DEADLINE = 12.0


def frame(method: str, clients: int, rounds: int, share: int = 1) -> DataFrame:
    """Every round asks each `share`-th client. Client i downloads for 1 s, computes for 1 + i mod 10 s and uploads for
    2 s; what takes longer than 12 s is late, every 7th of the punctual is lost on its way, and a round lasts 12 s.
    """
    lines = []
    for r in range(1, rounds + 1):
        asked = (r - 1) * DEADLINE
        for client in range(r % share, clients, share):
            begins, downloaded = asked + 0.5, asked + 1.5
            computed, arrives = downloaded + 1 + client % 10, downloaded + 3 + client % 10
            fate = "late" if arrives > asked + DEADLINE else "lost" if (client + r) % 7 == 0 else "used"
            there = arrives if fate != "lost" else float("nan")
            lines.append([method, r, client, asked, begins, downloaded, computed, there, fate,
                          r if fate == "used" else -1, 300.0, 4000.0, 2.5])  # fmt: skip
    return DataFrame(lines, columns=list(timeline.COLUMNS)).astype(timeline.COLUMNS)


def devices(frame: DataFrame) -> dict[str, Any]:
    """The summary's figures of two classes, the even clients and the odd ones."""
    found = {}
    for parity, kind in enumerate(("plug", "phone")):
        own = frame[frame["client"] % 2 == parity]
        count = {fate: int((own["fate"] == fate).sum()) for fate in ("used", "late", "lost")}
        found[kind] = {
            "clients": int(own["client"].nunique()), "asked": len(own), **count,
            "compute_seconds": 5.0 * len(own), "link_seconds": 3.0 * len(own), "idle_seconds": 4.0 * len(own),
            "joules": {"compute": 2.0 * len(own), "radio": 0.4 * len(own), "idle": 0.1 * len(own)},
        }  # fmt: skip
    return found


def timed(
    folder: Path, labels: Sequence[str] = ("sgdm", "ef21-sgdm"), clients: int = 12, rounds: int = 30, share: int = 1
) -> Path:
    """Writes the folder and returns it. The first method is uncompressed; each takes 12 virtual seconds a round."""
    methods, frames = [], []
    for i, label in enumerate(labels):
        lines = rows(
            label,
            [2.0 / (1 + 0.3 * j + 0.1 * i * j) for j in range(1 + rounds // 10)],
            saving=1.0 if i == 0 else 40.0 * i,
        )
        for line in lines:
            line |= {
                "virtual_seconds": DEADLINE * line["round"] / (1 + i),
                "uplink_wire_bytes": 2.0 * line["uplink_bytes"],
            }
        frames.append(frame(label, clients, rounds, share))
        summary = {"devices": devices(frames[-1]), "virtual_seconds": lines[-1]["virtual_seconds"]}
        summary |= {"compressor": "Identity()"} if i == 0 else {}
        summary |= {"staleness": {"mean": 0.5, "max": 2, "histogram": {"0": 60, "1": 30, "2": 10}}} if i == 1 else {}
        methods.append((lines, summary))
    make(folder, methods)
    table = pa.concat_tables([pa.Table.from_pandas(one, preserve_index=False) for one in frames])
    parquet.write_table(table, folder / timeline.NAME, compression="zstd")
    return folder


def served(folder: Path, labels: Sequence[str] = ("sgdm", "ef21-sgdm"), clients: int = 12) -> Path:
    """Adds fairness.parquet: client i of the j-th method is right in a share (i + 1) / (clients + j) and was used i
    times; nobody has a test accuracy.
    """
    nan = float("nan")
    lines = [
        [label, i, 10 * i, 1.0 / (1 + i), (i + 1) / (clients + j), nan, ("plug", "phone")[i % 2], clients, i]
        for j, label in enumerate(labels)
        for i in range(clients)
    ]
    names = ["method", "client", "samples", "loss", "accuracy", "test_accuracy", "device_class", "asked", "used"]
    table = pa.Table.from_pandas(DataFrame(lines, columns=names), preserve_index=False)
    parquet.write_table(table, folder / fairness_file.CLIENTS, compression="zstd")
    return folder
