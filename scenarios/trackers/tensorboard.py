"""TensorBoard: a folder of event files for each method, so that methods lie over one another in every chart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from scenarios.folder import folder_name
from scenarios.trackers.base import Run, numbers


class TensorBoard:
    """A `Tracker`. Event files go to WHERE/RUN/METHOD; a run that goes on adds files to the same folders."""

    example: ClassVar[str] = "curves"

    def __init__(self, where: str) -> None:
        self.where = Path(where)
        self._writers: dict[str, Any] = {}

    def start(self, run: Run) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = self.where / f"{folder_name(run.name)}-{run.identity[:8]}"
        self._writers = {label: SummaryWriter(str(folder / folder_name(label))) for label in run.methods}
        for label, writer in self._writers.items():
            if not run.resumed:
                told = run.settings(label).items()
                table = "\n".join(["| key | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in told)])
                writer.add_text("scenario", table, 0)

    def row(self, method: str, row: Mapping[str, Any]) -> None:
        writer = self._writers[method]
        for key, value in numbers(row).items():
            writer.add_scalar(key, value, row["round"])
        writer.flush()

    def end(self, summary: Mapping[str, Any]) -> None:
        for writer in self._writers.values():
            writer.close()
