"""What two run folders must have in common if one of them was disturbed: everything but seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pandas import DataFrame

from scenarios.loading import load
from scenarios.results import Result
from scenarios.run_file import RunFile
from strategies.journal import Journal
from tests.small import ALL_METHODS, scenario

SECONDS = ("wall_seconds", "clients_per_second")
DOWNLINK = {"name": "ef21-sgdm", "eta": 0.3, "gamma": 0.2, "compressor": "topk", "k": 5, "downlink": "topk:20"}


def lasting(**changes: Any) -> Any:
    """A short durable run of two methods with everything on: sampling, a downlink, shadows, a row for each message."""
    some: dict[str, Any] = {
        "durability": "disk", "rounds": 6, "method": [ALL_METHODS[1], DOWNLINK], "train": {"participation": 0.5},
        "cuts": {"every": 2}, "evaluate": {"every": 3, "traffic": "clients"}, "shadow": ["sign"],
    }  # fmt: skip
    return scenario(**some | changes)


def told(folder: Path) -> dict[str, Any]:
    """All that a run says, without seconds."""
    result = Result.load(folder)
    summary = {key: value for key, value in result.summary.items() if key not in (*SECONDS, "memory", "command")}
    summary["methods"] = [{k: v for k, v in m.items() if k not in SECONDS} for m in summary["methods"]]
    summary["problem"] = {k: v for k, v in summary["problem"].items() if k != "seconds_per_client"}
    kept = load(folder / "scenario.toml").evaluate.traffic
    each = ["client", "message"] if kept == "clients" else ["client"] if kept == "rounds" else []
    labels = [method["label"] for method in summary["methods"]]
    spent = {(label, one): _plain(result.traffic(label, one)) for label in labels for one in each}  # type: ignore[arg-type]
    return {
        "rounds": _plain(result.rounds.drop(columns="wall_seconds")), "shadow": _plain(result.shadow),
        "summary": json.dumps(summary, sort_keys=True), "traffic": spent, "digests": digests(folder),
        "files": sorted(path.name for path in folder.iterdir()),
    }  # fmt: skip


def digests(folder: Path) -> list[list[tuple[int, str]]]:
    """Of each method, every round that the journal holds."""
    run = RunFile.load(folder)
    if not (folder / "journal.sqlite").exists():
        return []
    journal = Journal.read(folder / "journal.sqlite", run.nonce)
    try:
        methods = load(folder / "scenario.toml").method
        return [[(r, d.hex()) for r, d, _ in journal.rounds(i)] for i in range(len(methods))]
    finally:
        journal.close()


def _plain(table: DataFrame) -> str:
    text: str = table.to_csv(index=False)
    return text
