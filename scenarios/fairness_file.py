"""fairness.parquet: a row for each method and client.

Of each method there is a part in `fairness-parts`, which outlasts a kill; the end of the run puts them together.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from fl_ef21.errors import InputError
from scenarios.fairness import Clients, figures
from scenarios.folder import place

if TYPE_CHECKING:
    from pandas import DataFrame

CLIENTS, PARTS = "fairness.parquet", "fairness-parts"
COLUMNS = ("method", "client", "samples", "loss", "accuracy", "test_accuracy", "device_class", "asked", "used")


class FairnessFile:
    """Writes fairness.parquet.

    Attributes:
      figures: `fairness` of each method that is over, by its number.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._parts = folder, folder / PARTS
        self.figures: dict[int, dict[str, Any]] = {}

    def keep(self, before: int) -> None:
        """Of earlier starts the methods before this one stay."""
        (self._folder / CLIENTS).unlink(missing_ok=True)
        for path in sorted(self._parts.glob("*.json")):
            if int(path.stem) < before:
                self.figures[int(path.stem)] = json.loads(path.read_text(encoding="utf-8"))
            else:
                path.unlink()
                path.with_suffix(".parquet").unlink(missing_ok=True)

    def method(self, number: int, label: str, clients: Clients) -> None:
        """A method is over."""
        columns = clients.columns()
        table = pa.table({"method": pa.array([label] * len(columns["client"]), pa.string()), **columns})
        self.figures[number] = figures(clients)
        self._parts.mkdir(exist_ok=True)
        place(self._parts / f"{number:04d}.parquet", _bytes(table))
        place(self._parts / f"{number:04d}.json", json.dumps(self.figures[number]).encode())

    def close(self) -> None:
        """Put the parts together; they stay for who goes on, until `clear`."""
        if parts := sorted(self._parts.glob("*.parquet")):
            place(self._folder / CLIENTS, _bytes(pa.concat_tables([parquet.read_table(part) for part in parts])))

    def clear(self) -> None:
        """The run is over."""
        shutil.rmtree(self._parts, ignore_errors=True)


def _bytes(table: Any) -> bytes:
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    found: bytes = sink.getvalue().to_pybytes()
    return found


def read(folder: Path, label: str | None = None) -> DataFrame:
    """fairness.parquet of a run folder, columns COLUMNS, or of one method without `method`.

    Raises: InputError where the run kept none, or the file is not whole.
    """
    path = folder / CLIENTS
    if not path.is_file():
        raise InputError(str(path), None, 'is not there; evaluate.fairness = "end" keeps it')
    try:
        frame: DataFrame = parquet.read_table(path).to_pandas()
    except pa.ArrowException as error:
        raise InputError(str(path), str(error)[:60], "the file is not whole") from None
    if label is None:
        return frame
    return frame[frame["method"] == label].drop(columns="method").reset_index(drop=True)
