"""What a run cost, client by client, in two tables of its folder: Parquet, which pandas and most others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from fl_ef21.errors import InputError
from fl_ef21.traffic import PerClient, Traffic

if TYPE_CHECKING:
    from pandas import DataFrame

CLIENTS, MESSAGES = "traffic-clients.parquet", "traffic.parquet"
_ROWS = 1 << 18  # of a row group: what is in memory at the most


class TrafficFile:
    """Writes both tables: sums of each client, and, if `detail`, a row for each client and round."""

    def __init__(self, folder: Path, detail: bool) -> None:
        self._folder, self._detail = folder, detail
        self._writer: parquet.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._sums: list[pa.Table] = []

    def round(self, label: str, done: Traffic) -> None:
        """One round of a method."""
        if self._detail:
            self._waiting.append(_labelled(label, done.columns()))
            if sum(map(len, self._waiting)) >= _ROWS:
                self._flush()

    def method(self, label: str, sums: PerClient) -> None:
        """A method is over."""
        clients = pa.array(range(len(sums.columns["asked"])), pa.int32())
        self._sums.append(_labelled(label, {"client": clients, **sums.columns}))

    def close(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
        if self._sums:
            parquet.write_table(pa.concat_tables(self._sums), self._folder / CLIENTS, compression="zstd")

    def _flush(self) -> None:
        if self._waiting:
            table, self._waiting = pa.concat_tables(self._waiting), []
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self._folder / MESSAGES, table.schema, compression="zstd")
            self._writer.write_table(table)


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
