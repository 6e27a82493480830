"""Trace files: the bandwidth of a link over time, and the intervals in which devices are there. CSV, also gzipped.

    t_s,mbps                a link: from t_s seconds on so many megabits a second; a column `trace` tells several apart,
                            a column `direction` (up, down) those of either way
    device,start_s,end_s    when devices are there, in seconds

Both begin again when they end.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.errors import InputError

BYTES = 125_000.0  # a second, of one megabit a second


@dataclass(frozen=True, eq=False)
class Course:
    """The rate of a link over time, which begins again at its end.

    Attributes:
      times: (k + 1,) seconds from 0, increasing; the last is the period.
      sent: (k + 1,) bytes that the link can have carried until then, the first 0, the last > 0.
    """

    times: Array
    sent: Array

    @property
    def period(self) -> float:
        return float(self.times[-1])

    @property
    def mean(self) -> float:
        """Bytes per second, over a period."""
        return float(self.sent[-1]) / self.period

    def seconds(self, starts: Array, nbytes: Array) -> Array:
        """(m,) until (m,) bytes are through that were begun at (m,) times."""
        into = np.mod(starts, self.period)
        target = np.interp(into, self.times, self.sent) + nbytes
        laps = np.ceil(target / self.sent[-1]) - 1
        rest = target - laps * self.sent[-1]  # in (0, what a period carries]
        at = np.clip(np.searchsorted(self.sent, rest, side="left"), 1, len(self.sent) - 1)
        part = (rest - self.sent[at - 1]) / np.maximum(self.sent[at] - self.sent[at - 1], 1e-300)
        ends = laps * self.period + self.times[at - 1] + part * (self.times[at] - self.times[at - 1])
        return np.where(nbytes > 0, np.maximum(ends - into, 0.0), 0.0)


@dataclass(frozen=True, eq=False)
class Intervals:
    """When each of some devices is there, in a period that comes again.

    Attributes:
      starts, ends: (k,) seconds in [0, period], device after device, each device's in order and apart.
      first: (devices + 1,) where each device's begin; every device has one at least.
      period: seconds.
    """

    starts: Array
    ends: Array
    first: Array
    period: float

    @property
    def devices(self) -> int:
        return len(self.first) - 1

    def next_on(self, devices: Array, times: Array) -> Array:
        """(m,) times, put off until the devices (m,) are there."""
        laps = np.floor(times / self.period) * self.period
        into = times - laps
        owner = np.repeat(np.arange(self.devices), np.diff(self.first))
        order = owner * self.period + self.ends  # increasing
        at = np.searchsorted(order, devices * self.period + into, side="right")
        at = np.maximum(at, self.first[devices])
        over = at >= self.first[devices + 1]  # until the next period
        start = self.starts[np.where(over, self.first[devices], at)] + np.where(over, self.period, 0.0)
        found: Array = np.maximum(times, laps + start)
        return found


def _rows(path: Path, needed: Sequence[str], where: str) -> list[Mapping[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            rows: list[Mapping[str, str]] = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
        told = getattr(error, "strerror", None) or error
        raise InputError(where, str(path), f"cannot be read: {told}") from error
    if not rows or any(key not in rows[0] for key in needed):
        raise InputError(where, str(path), f"must be a CSV file with a header and the columns {', '.join(needed)}")
    return rows


def _numbers(rows: Sequence[Mapping[str, str]], key: str, path: Path, where: str) -> Array:
    try:
        found = np.array([float(row[key]) for row in rows])
    except (TypeError, ValueError) as error:
        raise InputError(where, str(path), f"column {key}: {error}") from error
    if not np.isfinite(found).all():
        raise InputError(where, str(path), f"column {key} must hold finite numbers")
    return found


def courses(path: Path, direction: str, where: str) -> tuple[Course, ...]:
    """The links of a file, for one direction ("up" or "down") where it tells them apart. Raises: InputError."""
    return _courses(path, _written(path), direction, where)


def intervals(path: Path, period: float | None, where: str) -> Intervals:
    """When the devices of a file are there. period: after which they come again, the file's last end without.

    Raises: InputError.
    """
    return _intervals(path, _written(path), period, where)


def _written(path: Path) -> int:
    """When, so that a file is read again once it changed."""
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=16)
def _courses(path: Path, written: int, direction: str, where: str) -> tuple[Course, ...]:
    rows = _rows(path, ("t_s", "mbps"), where)
    if "direction" in rows[0]:
        rows = [row for row in rows if row["direction"] == direction]
    times, rates = _numbers(rows, "t_s", path, where), _numbers(rows, "mbps", path, where)
    of: dict[tuple[str | None, str | None], list[int]] = {}
    for i, row in enumerate(rows):
        of.setdefault((row.get("source"), row.get("trace")), []).append(i)
    if not of:
        raise InputError(where, str(path), f"has no rows of direction {direction!r}")
    return tuple(_course(times[mine], rates[mine], path, where) for mine in of.values())


def _course(times: Array, rates: Array, path: Path, where: str) -> Course:
    gaps = np.diff(times)
    if (gaps <= 0).any():
        raise InputError(where, str(path), "column t_s must increase within a trace")
    if (rates < 0).any() or not rates.any():
        raise InputError(where, str(path), "column mbps must not be negative, nor 0 in all of a trace")
    gaps = np.append(gaps, np.median(gaps) if len(gaps) else 1.0)  # the last rate holds as long as rates do
    return Course(np.append(0.0, np.cumsum(gaps)), np.append(0.0, np.cumsum(gaps * rates * BYTES)))


@lru_cache(maxsize=16)
def _intervals(path: Path, written: int, period: float | None, where: str) -> Intervals:
    rows = _rows(path, ("device", "start_s", "end_s"), where)
    starts, ends = _numbers(rows, "start_s", path, where), _numbers(rows, "end_s", path, where)
    period = float(ends.max()) if period is None else period
    if (starts < 0).any() or (ends <= starts).any() or (ends > period).any():
        told = f"must have 0 <= start_s < end_s, and end_s at most the period of {period:g} s"
        raise InputError(where, str(path), told)
    names = [row["device"] for row in rows]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    owner = np.array([number[name] for name in names])
    order = np.lexsort((starts, owner))
    owner, starts, ends = owner[order], starts[order], ends[order]
    if (starts[1:] < ends[:-1])[owner[1:] == owner[:-1]].any():
        raise InputError(where, str(path), "intervals of one device must not overlap")
    return Intervals(starts, ends, np.searchsorted(owner, np.arange(len(number) + 1)), period)
