"""Writes timeline.parquet (`scenarios.timeline`): what each asked client did when, and what came of it."""

from __future__ import annotations

import shutil
import zlib
from base64 import b85decode, b85encode
from pathlib import Path
from typing import Any

import numpy as np

from fl_ef21.blocks import Array
from scenarios.parts import OVER, Parts
from scenarios.timeline import COLUMNS, FATES, NAME

PARTS = "timeline-parts"
MOST = 1 << 20  # rows; of larger runs some clients are kept
NUMBERS = tuple(name for name in COLUMNS if name != "method")  # a row, fate as its place in FATES
FATE = {name: float(place) for place, name in enumerate(FATES)}
AT = {name: place for place, name in enumerate(NUMBERS)}


class TimelineFile:
    """Of a run of so many clients and invitations, in parts while it goes on."""

    def __init__(self, folder: Path, clients: int, invitations: int) -> None:
        self._folder, self._parts = folder / PARTS, Parts(folder, PARTS, "timeline", NAME)
        step = max(1, -(-invitations // MOST))
        self._kept = np.arange(clients) % step == 0

    def keep(self, number: int, round: int) -> None:
        """Of earlier starts: all methods before this one, and its rounds up to `round`."""
        self._parts.keep(number, round)

    def rows(self, number: int, label: str, round: int | None, rows: Array) -> None:
        """Rows (m, len(NUMBERS)) that became known in a round; None: at the end of the method."""
        rows = rows[self._kept[rows[:, AT["client"]].astype(np.int64)]]
        if len(rows):
            self._parts.add(number, label, OVER if round is None else round, _columns(rows))

    def settle(self) -> None:
        """What was told is on the disk."""
        self._parts.settle()

    def close(self) -> None:
        """Put the parts together. They stay, for who goes on with the run; `clear` where nobody will."""
        self._parts.close()

    def clear(self) -> None:
        """The run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _columns(rows: Array) -> dict[str, Any]:
    names = np.array(list(FATES))
    columns = {name: column.astype(COLUMNS[name]) for name, column in zip(NUMBERS, rows.T, strict=True)}
    return columns | {"fate": names[rows[:, AT["fate"]].astype(np.int64)].tolist()}


def pack(rows: Array) -> str:
    """As a text that JSON can keep; `unpack` gives them back."""
    return b85encode(zlib.compress(np.ascontiguousarray(rows, "<f8").tobytes())).decode()


def unpack(text: str) -> Array:
    return np.frombuffer(zlib.decompress(b85decode(text)), "<f8").reshape(-1, len(NUMBERS)).copy()
