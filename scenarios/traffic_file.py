"""What a run cost, client by client, in two tables of its folder: Parquet, which pandas and most others read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as parquet

from fl_ef21.errors import InputError
from fl_ef21.traffic import PerClient, Traffic
from scenarios.parts import OVER, Parts

if TYPE_CHECKING:
    from pandas import DataFrame

CLIENTS, MESSAGES, PARTS = "traffic-clients.parquet", "traffic.parquet", "traffic-parts"


class TrafficFile:
    """Writes both tables, in parts: sums of each client, and, if `detail`, a row for each client and round."""

    def __init__(self, folder: Path, detail: bool) -> None:
        self._detail, self._parts = detail, folder / PARTS
        self._messages = Parts(folder, PARTS, "rounds", MESSAGES)
        self._clients = Parts(folder, PARTS, "clients", CLIENTS)

    def keep(self, number: int, round: int) -> None:
        """Of earlier starts: all methods before this one, and its rounds up to `round`."""
        self._messages.keep(number, round)
        self._clients.keep(number, round)

    def round(self, number: int, label: str, done: Traffic) -> None:
        """One round of a method."""
        if self._detail:
            self._messages.add(number, label, done.round, done.columns())

    def method(self, number: int, label: str, sums: PerClient) -> None:
        """A method is over."""
        clients = pa.array(range(len(sums.columns["asked"])), pa.int32())
        self._clients.add(number, label, OVER, {"client": clients, **sums.columns})
        self._clients.settle()

    def settle(self) -> None:
        """What was told is on the disk."""
        self._messages.settle()

    def close(self) -> None:
        """Put the parts together. They stay, for who goes on with the run; `clear` where nobody will."""
        self._messages.close()
        self._clients.close()

    def clear(self) -> None:
        """The run is over."""
        shutil.rmtree(self._parts, ignore_errors=True)


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
