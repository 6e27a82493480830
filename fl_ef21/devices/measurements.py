"""What was measured of devices, row by row; and a CSV file of such rows.

device,kind,bytes,seconds
kitchen,down,62000,0.61
kitchen,up,4100,0.09
kitchen,ping,,0.031
kitchen,step,,0.32
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fl_ef21.errors import InputError, nearest

KINDS = {
    "up": "a transfer of so many bytes towards the server",
    "down": "a transfer of so many bytes from it",
    "ping": "a request and its answer of next to no bytes",
    "step": "one gradient step",
    "overhead": "what a message takes besides its steps and its bytes",
    "poll": "between two questions for work",
    "on": "a stretch in which the device was there",
    "off": "a stretch in which it was not",
}
COLUMNS = ("device", "kind", "bytes", "seconds")
CARRYING = ("up", "down")


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
      kind: one of KINDS.
      up, down: bytes either way; of transfers and pings.
      trips: requests that followed upon one another in it.
    """

    device: str
    kind: str
    seconds: float
    up: int = 0
    down: int = 0
    trips: int = 1


def read(path: Path) -> list[Row]:
    """The rows of a CSV file whose columns are COLUMNS, in any order; `class` may be one more, see `classes`.

    Raises: InputError that names row and column.
    """
    return [_row(record, f"{path} row {number}") for number, record in enumerate(_records(path), 2)]


def classes(path: Path) -> dict[str, str]:
    """The class of each device, of those that are given one."""
    return {one["device"].strip(): one["class"].strip() for one in _records(path) if (one.get("class") or "").strip()}


def _records(path: Path) -> list[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError("FILE", str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError("FILE", str(path), f"byte {error.start} is not UTF-8 text") from error
    reader = csv.DictReader(text.splitlines())
    header = [name.strip() for name in reader.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in header]:
        raise InputError(f"{path} row 1", ",".join(header), f"has no column {missing[0]}; needs " + ",".join(COLUMNS))
    reader.fieldnames = header
    return list(reader)


def _row(record: Mapping[str, str], where: str) -> Row:
    device, kind = (record["device"] or "").strip(), (record["kind"] or "").strip()
    if not device:
        raise InputError(f"{where}, column device", device, "must name the device")
    if kind not in KINDS:
        raise InputError(f"{where}, column kind", kind, f"is not known; {nearest(kind, list(KINDS))}")
    carried = 0
    if kind in CARRYING:
        carried = int(_number(record["bytes"], f"{where}, column bytes", 1, "a whole number of at least 1", whole=True))
    seconds = _number(record["seconds"], f"{where}, column seconds", 0, "a number of at least 0")
    return Row(device, kind, seconds, **({kind: carried} if kind in CARRYING else {}))


def _number(text: str | None, where: str, least: float, wanted: str, whole: bool = False) -> float:
    try:
        number = float((text or "").strip())
    except ValueError:
        number = math.nan
    if not least <= number < math.inf or (whole and number != int(number)):
        raise InputError(where, text, f"must be {wanted}")
    return number


def by_device(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """In the order in which devices come first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.device, []).append(row)
    return found
