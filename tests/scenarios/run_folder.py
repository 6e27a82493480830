"""A small run folder with known figures, for the tests of results, report and comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]
DENSE = 400_000  # bytes of one round, uncompressed: 100 clients, d = 1,000, float32


def rows(label: str, losses: list[float | None], saving: float = 1.0) -> list[Row]:
    """One row for each loss, ten rounds apart; the squared gradient norm is a tenth of the loss."""
    return [
        {
            "method": label, "round": 10 * i, "train_loss": loss,
            "grad_norm_sq": None if loss is None else loss / 10, "test_accuracy": 0.5 + 0.01 * i,
            "uplink_bytes": int(10 * i * DENSE / saving), "downlink_bytes": 10 * i * DENSE,
            "participants": 100, "rejected": 0, "invariant_error": 1e-9, "wall_seconds": 0.5 * i,
        }
        for i, loss in enumerate(losses)
    ]  # fmt: skip


def method(rows: list[Row], **changed: Any) -> dict[str, Any]:
    """The summary of a method with these rows."""
    last = rows[-1]
    return {
        "label": last["method"], "name": "ef21-sgdm", "compressor": "TopK(k=7)", "gamma": "0.5", "eta": "0.1",
        "status": "finished", "reason": "", "rounds": last["round"], "rejected": 0,
        "dense_uplink_bytes": last["round"] * DENSE, "uplink_bytes": last["uplink_bytes"],
        "downlink_bytes": last["downlink_bytes"], "train_loss": last["train_loss"],
        "grad_norm_sq": last["grad_norm_sq"], "test_accuracy": last["test_accuracy"],
        "best_test_accuracy": last["test_accuracy"], "invariant_error": 1e-9,
        "wall_seconds": last["wall_seconds"], "clients_per_second": 2000.0,
    } | changed  # fmt: skip


def make(
    folder: Path,
    methods: list[tuple[list[Row], dict[str, Any]]] | None = None,
    *,
    scenario: str = "",
    **summary: Any,
) -> Path:
    """Writes a run folder of (rows, what differs in the summary) and returns it."""
    methods = methods or [
        (rows("sgdm", [2.0, 1.0, 0.5, 0.25]), {"compressor": "Identity()"}),
        (rows("ef21-sgdm", [2.0, 1.0, 0.5, 0.25], saving=40), {}),
        (
            rows("wild", [2.0, 900.0, None], saving=40),
            {"status": "diverged", "reason": "not finite at round 20"},
        ),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row) + "\n" for of_method, _ in methods for row in of_method]
    (folder / "rounds.jsonl").write_text("".join(lines))
    told = {
        "name": "small", "runtime": "resident", "command": "fl-ef21 run small", "status": "finished",
        "wall_seconds": 12.5,
        "problem": {"model": "logistic", "data": "digits", "dim": 1000, "clients": 100, "samples": 1437},
        "partition": {"scheme": "iid", "classes": ["0", "1"], "label_counts": [[3, 4], [5, 0]]},
        "methods": [method(of_method, **changed) for of_method, changed in methods],
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(told | summary))
    (folder / "environment.json").write_text(json.dumps({"python": "3.12.1", "ray": None, "cpus": 2}))
    (folder / "scenario.toml").write_text(scenario or 'name = "small"\nseed = 0\n[train]\nbatch_size = 1\n')
    return folder
