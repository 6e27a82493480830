"""A timeline fit to be drawn: who took part in which round, and spans for a Gantt chart. Small enough for a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame, Series

ROWS, COLUMNS = 160, 240  # cells of a participation map
CELLS = 3 * ROWS * COLUMNS  # of all maps of a page together: a quarter of a megabyte
SHADES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # 0 to `most`
SPANS = 3600  # of all Gantt charts of a page together: a quarter of a megabyte
ASKED = 48  # clients of a round that a Gantt chart has spans of, at most about


@dataclass(frozen=True)
class Look:
    """What becomes of a reply, as it is drawn: its letter in a map, colour (of Okabe and Ito, and grey) and sign."""

    letter: str
    colour: str
    glyph: str


LOOKS = {
    "used": Look("u", "#0072B2", ""),
    "later": Look("a", "#56B4E9", "›"),
    "late": Look("d", "#E69F00", "–"),
    "surplus": Look("s", "#CC79A7", "+"),
    "lost": Look("l", "#D55E00", "×"),
    "busy": Look("b", "#8A8F98", "…"),
}
LETTERS = {fate: look.letter for fate, look in LOOKS.items()}  # "." was not asked


@dataclass(frozen=True)
class Participation:
    """Clients (rows, quickest first) by rounds (columns).

    Attributes:
      rows: the client of each row, or where there are too many the first and last place of each group of clients in the
        order of speed.
      rounds: the first round of each column.
      width: rounds of a column.
      clients: how many there are.
      cells: a letter of LETTERS for each column; empty where rows or columns are groups.
      used, asked: per row and column how many replies were used, and how many clients asked, per client and round: a
        letter of SHADES for each column. Empty where `cells` is not.
      most: what the last of SHADES stands for, a share.
    """

    rows: list[Any]
    rounds: list[int]
    width: int
    clients: int
    cells: list[str]
    used: list[str]
    asked: list[str]
    most: float


@dataclass(frozen=True)
class Gantt:
    """Some rounds of some clients.

    Attributes:
      clients: quickest first.
      rounds: [number, asked, over] of each round that has spans here, in virtual seconds.
      spans: [index in `clients`, round, begins, downloaded, computed, arrives, fate, bytes up, bytes down, joules].
      of: clients and rounds of the whole timeline.
    """

    clients: list[int]
    rounds: list[list[float]]
    spans: list[list[Any]]
    of: list[int]


def by_speed(timeline: DataFrame) -> list[int]:
    """Clients in the order of the median time between fetching an instruction and the reply's arrival, quickest first.

    Who never replied comes last; equals in the order of their numbers.
    """
    took = (timeline["arrives"] - timeline["begins"]).groupby(timeline["client"]).median()
    return [int(client) for client in took.sort_values(kind="stable", na_position="last").index]


def participation(timeline: DataFrame, rows: int = ROWS, columns: int = COLUMNS) -> Participation:
    """The map of one method's timeline, at most so many rows and columns."""
    order = by_speed(timeline)
    place = {client: i for i, client in enumerate(order)}
    first, last = int(timeline["round"].min()), int(timeline["round"].max())
    width = -(-(last - first + 1) // columns)
    across = -(-(last - first + 1) // width)
    column = ((timeline["round"] - first) // width).to_numpy()
    row = timeline["client"].map(place).to_numpy()
    rounds = [first + i * width for i in range(across)]
    if len(order) <= rows and width == 1:
        grid = np.full((len(order), across), ".")
        grid[row, column] = timeline["fate"].map(LETTERS).to_numpy(dtype=str)
        return Participation(list(order), rounds, 1, len(order), ["".join(line) for line in grid], [], [], 1.0)
    down = min(rows, len(order))
    edges = [i * len(order) // down for i in range(down + 1)]
    group = np.searchsorted(edges, row, side="right") - 1
    held = np.outer(np.diff(edges), [min(width, last + 1 - start) for start in rounds])
    used = _counts(group, column, timeline["fate"].isin(["used", "later"]).to_numpy(), held.shape)
    asked = _counts(group, column, np.ones(len(row), dtype=bool), held.shape)
    names: list[Any] = [[a + 1, b] for a, b in pairwise(edges)]
    if down == len(order):
        names = list(order)
    most = float((asked / held).max())
    used, asked = _shades(used / held, most), _shades(asked / held, most)
    return Participation(names, rounds, width, len(order), [], used, asked, float(f"{most:.4g}"))


def _counts(row: Any, column: Any, which: Any, shape: tuple[int, ...]) -> Any:
    found = np.zeros(shape)
    np.add.at(found, (row[which], column[which]), 1)
    return found


def _shades(shares: Any, most: float) -> list[str]:
    codes = np.rint((len(SHADES) - 1) * shares / most).astype(int)
    return ["".join(SHADES[code] for code in row) for row in codes.tolist()]


def gantt(timeline: DataFrame, spans: int = SPANS) -> Gantt:
    """Spans of one method, about so many: of all clients and rounds where that is few enough, else of clients evenly
    over the order of speed, and of the first, the middle and the last rounds.
    """
    order, rounds = by_speed(timeline), sorted(set(timeline["round"].tolist()))
    ends = _ends(timeline, rounds)
    each = len(timeline) / len(rounds)
    clients = _evenly(order, min(len(order), max(8, round(len(order) * ASKED / each))))
    some = timeline[timeline["client"].isin(clients)]
    kept = _windows(rounds, max(3, int(spans * len(rounds) / max(1, len(some)))))
    some = some[some["round"].isin(kept)]
    place = {client: i for i, client in enumerate(clients)}
    digits = 4 if ends[rounds[-1]][1] < 1e5 else 1
    lines = [_span(place[int(row[1])], row, digits) for row in _rows(some)]
    numbers = [[r, _number(ends[r][0], digits), _number(ends[r][1], digits)] for r in kept]
    return Gantt(clients, numbers, lines, [len(order), len(rounds)])  # type: ignore[arg-type]


def _rows(some: DataFrame) -> Iterator[tuple[Any, ...]]:
    columns = (
        "round",
        "client",
        "begins",
        "downloaded",
        "computed",
        "arrives",
        "fate",
        "up_bytes",
        "down_bytes",
        "joules",
    )
    return zip(*(some[name].tolist() for name in columns), strict=True)


def _span(place: int, row: tuple[Any, ...], digits: int) -> list[Any]:
    round_, _, *times, fate, up, down, joules = row
    figures = [_number(up, 0), _number(down, 0), _number(joules, 3)]
    return [place, int(round_), *(_number(t, digits) for t in times), fate, *figures]


def _number(value: float, digits: int) -> float | None:
    if not np.isfinite(value):
        return None
    found = round(float(value), digits)
    return int(found) if found.is_integer() else found


def _ends(timeline: DataFrame, rounds: list[int]) -> dict[int, tuple[float, float]]:
    """When each round was asked and when it was over: as the next was asked, the last one with its last used reply."""
    asked: Series[float] = timeline.groupby("round")["asked"].min()
    starts = [float(asked[r]) for r in rounds]
    last = timeline[timeline["round"] == rounds[-1]]
    heard = last.loc[last["fate"] == "used", "arrives"].max()
    final = float(heard) if np.isfinite(heard) else starts[-1]
    return {r: (a, b) for r, a, b in zip(rounds, starts, [*starts[1:], final], strict=True)}


def _evenly(items: list[int], count: int) -> list[int]:
    """So many of them, both ends among them."""
    last = len(items) - 1
    return items if count > last else [items[i * last // (count - 1)] for i in range(count)]


def _windows(rounds: list[int], count: int) -> list[int]:
    """So many rounds: a third each from the start, the middle and the end."""
    if count >= len(rounds):
        return rounds
    third = count // 3
    middle = (len(rounds) - third) // 2
    return sorted({*rounds[:third], *rounds[middle : middle + third], *rounds[-third:]})
