"""What a run cost, client by client, in two tables of its folder: Parquet, which pandas and most others read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from fl_ef21.errors import InputError
from fl_ef21.failpoints import failpoint
from fl_ef21.traffic import PerClient, Traffic
from scenarios.folder import synced

if TYPE_CHECKING:
    from pandas import DataFrame

CLIENTS, MESSAGES, PARTS = "traffic-clients.parquet", "traffic.parquet", "traffic-parts"
_ROWS = 1 << 18  # of a row group: what is in memory at the most


class TrafficFile:
    """Writes both tables: sums of each client, and, if `detail`, a row for each client and round.

    While the run goes on they are parts in a folder of their own, which a kill leaves whole: one for each method that
    is over, and for the rounds between two calls of `settle`. The end of the run puts them together.
    """

    def __init__(self, folder: Path, detail: bool) -> None:
        self._folder, self._detail = folder, detail
        self._parts = folder / PARTS
        self._waiting: list[pa.Table] = []
        self._at = (0, 0)

    def keep(self, number: int, round: int) -> None:
        """Of earlier starts: all methods before this one, and its rounds up to `round`, which ends a part."""
        for whole in (CLIENTS, MESSAGES):
            (self._folder / whole).unlink(missing_ok=True)
        for path in self._parts.glob("*.parquet"):
            kind, method, until = path.stem.split("-")
            if int(method) > number or (int(method) == number and (kind == "clients" or int(until) > round)):
                path.unlink()

    def round(self, number: int, label: str, done: Traffic) -> None:
        """One round of a method."""
        if self._detail:
            self._waiting.append(_labelled(label, done.columns()))
            self._at = (number, done.round)
            if sum(map(len, self._waiting)) >= _ROWS:
                self.settle()

    def method(self, number: int, label: str, sums: PerClient) -> None:
        """A method is over."""
        clients = pa.array(range(len(sums.columns["asked"])), pa.int32())
        self._write(f"clients-{number:04d}-0", _labelled(label, {"client": clients, **sums.columns}))

    def settle(self) -> None:
        """What was told is on the disk."""
        if self._waiting:
            table, self._waiting = pa.concat_tables(self._waiting), []
            number, round = self._at
            self._write(f"rounds-{number:04d}-{round:08d}", table)

    def _write(self, name: str, table: pa.Table) -> None:
        self._parts.mkdir(exist_ok=True)
        path = self._parts / f"{name}.parquet"
        parquet.write_table(table, path.with_suffix(".new"), compression="zstd")
        synced(path.with_suffix(".new"))
        failpoint("traffic.part")
        path.with_suffix(".new").replace(path)
        synced(self._parts)

    def close(self) -> None:
        """Put the parts together. They stay, for who goes on with the run; `clear` where nobody will."""
        self.settle()
        for kind, name in (("rounds", MESSAGES), ("clients", CLIENTS)):
            _together(sorted(self._parts.glob(f"{kind}-*.parquet")), self._folder / name)

    def clear(self) -> None:
        """The run is over."""
        shutil.rmtree(self._parts, ignore_errors=True)


def _together(parts: list[Path], path: Path) -> None:
    """One table, in row groups of `_ROWS` however the parts were cut, so that it is the same file."""
    if not parts:
        return
    with parquet.ParquetWriter(path, parquet.read_schema(parts[0]), compression="zstd") as writer:
        waiting, rows = list[pa.Table](), 0
        for part in parts:
            for batch in parquet.ParquetFile(part).iter_batches(_ROWS):
                waiting.append(pa.Table.from_batches([batch]))
                rows += len(batch)
                if rows >= _ROWS:
                    table = pa.concat_tables(waiting)
                    writer.write_table(table.slice(0, _ROWS))
                    waiting, rows = [table.slice(_ROWS)], len(table) - _ROWS
        if rows:
            writer.write_table(pa.concat_tables(waiting))


def _labelled(label: str, columns: dict[str, Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    method = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), pa.array([label]))
    return pa.table({"method": method.cast(pa.string()), **columns})


def read_traffic(folder: Path, label: str, each: str) -> DataFrame:
    """The rows of one method. Raises: InputError where the run did not keep such a table, or it is broken."""
    path = folder / (CLIENTS if each == "client" else MESSAGES)
    if not path.is_file():
        keep = "rounds" if each == "client" else "clients"
        raise InputError(str(path), None, f'is not there; evaluate.traffic = "{keep}" keeps it')
    try:
        table = parquet.read_table(path, filters=[("method", "==", label)])
    except pa.ArrowException as error:
        raise InputError(str(path), str(error)[:60], "the file is not whole, as of a run that was killed") from None
    frame: DataFrame = table.to_pandas().drop(columns="method")
    return frame
