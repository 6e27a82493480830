"""Tables that grow while a run goes on: Parquet parts, each whole on the disk, put together at its end.

A part holds the rounds of one method between two calls of `settle`. A kill leaves parts whole, and who goes on keeps
those that it will not compute again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from fl_ef21.failpoints import failpoint
from scenarios.folder import synced

ROWS = 1 << 18  # of a row group: what is in memory at the most
OVER = 10**8 - 1  # instead of a round: what is told when a method is over


class Parts:
    """One such table of a run folder.

    Attributes:
      whole: the file in which all is in the end.
    """

    def __init__(self, folder: Path, parts: str, kind: str, whole: str) -> None:
        """parts: the folder in it that parts of this kind, and perhaps of others, are in."""
        self.whole = folder / whole
        self._folder, self._kind = folder / parts, kind
        self._waiting: list[pa.Table] = []
        self._at = (0, 0)

    def keep(self, number: int, round: int) -> None:
        """Of earlier starts: all methods before this one, and its rounds up to `round`, which ends a part."""
        self.whole.unlink(missing_ok=True)
        for path in self._folder.glob(f"{self._kind}-*.parquet"):
            _, method, until = path.stem.split("-")
            if int(method) > number or (int(method) == number and int(until) > round):
                path.unlink()

    def add(self, number: int, label: str, round: int, columns: dict[str, Any]) -> None:
        """Rows of a method, told in this round or, with `OVER`, at its end."""
        self._waiting.append(_labelled(label, columns))
        self._at = (number, round)
        if sum(map(len, self._waiting)) >= ROWS:
            self.settle()

    def settle(self) -> None:
        """What was told is on the disk."""
        if not self._waiting:
            return
        table, self._waiting = pa.concat_tables(self._waiting), []
        number, round = self._at
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{self._kind}-{number:04d}-{round:08d}.parquet"
        parquet.write_table(table, path.with_suffix(".new"), compression="zstd")
        synced(path.with_suffix(".new"))
        failpoint("traffic.part")
        path.with_suffix(".new").replace(path)
        synced(self._folder)

    def close(self) -> None:
        """Put the parts together. They stay, for who goes on with the run."""
        self.settle()
        _together(sorted(self._folder.glob(f"{self._kind}-*.parquet")), self.whole)


def _together(parts: list[Path], path: Path) -> None:
    """One table, in row groups of `ROWS` however the parts were cut, so that it is the same file."""
    if not parts:
        return
    with parquet.ParquetWriter(path, parquet.read_schema(parts[0]), compression="zstd") as writer:
        waiting, rows = list[pa.Table](), 0
        for part in parts:
            for batch in parquet.ParquetFile(part).iter_batches(ROWS):
                waiting.append(pa.Table.from_batches([batch]))
                rows += len(batch)
                if rows >= ROWS:
                    table = pa.concat_tables(waiting)
                    writer.write_table(table.slice(0, ROWS))
                    waiting, rows = [table.slice(ROWS)], len(table) - ROWS
        if rows:
            writer.write_table(pa.concat_tables(waiting))


def _labelled(label: str, columns: dict[str, Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    method = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([label]))
    return pa.table({"method": method.cast(pa.string()), **columns})
