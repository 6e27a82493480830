"""When a device is there: processes in virtual time, each a function of (seed, client) alone.

    always
    slots        time in slots, in each of which it is there with probability
                     p(t) = share (1 + depth cos(2 pi (t - peak_i) / 24 h))
                 independent from slot to slot: `bernoulli` with depth 0, else `day-night`
    markov       stretches on and off in turn, each exponential
    windows      on and off in turn, always as long: passes of a satellite
    trace        of a file's devices one, whose intervals come again

The share of the time in which it is there is, in the long run, `share` of slots whatever the depth (the cosine has
mean 0), and on / (on + off) of markov and windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.devices import traces, words
from fl_ef21.errors import InputError

_TOGETHER = 64  # stretches drawn in one go
_SLOTS = 16  # slots looked at in one go


class Process(Protocol):
    """When devices are there."""

    @property
    def share(self) -> float:
        """Of the time, in the long run and over devices, in (0, 1]."""
        ...

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        """(m,) times, put off for clients (m,) that are not there until they are."""
        ...

    def table(self) -> str | dict[str, Any]:
        """As a profile has it."""
        ...


@dataclass(frozen=True)
class Always:
    @property
    def share(self) -> float:
        return 1.0

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        return times.copy()

    def table(self) -> str:
        return "always"


@dataclass(frozen=True)
class Slots:
    """Attributes: see above; peak_hour, of the hours of the first day, when most are there; spread_hours, how far the
    peaks of devices lie from it at most, evenly spread (12: anywhere on earth); slot_seconds, each device's own begin.
    """

    share: float
    slot_seconds: float
    depth: float = 0.0
    peak_hour: float = 0.0
    spread_hours: float = 0.0

    def probability(self, peaks: Array, times: Array) -> Array:
        """(m, k) p(t) of clients with peaks (m,) at (m, k) times."""
        if self.depth == 0:
            return np.full(times.shape, self.share)
        found: Array = self.share * (1 + self.depth * np.cos(2 * np.pi / words.DAY * (times - peaks[:, None])))
        return found

    def peaks(self, seed: int, clients: Array) -> Array:
        """(m,) seconds into a day at which each of clients (m,) is likeliest there."""
        if self.spread_hours == 0:
            return np.full(len(clients), 3600 * self.peak_hour)
        shift = self.spread_hours * (2 * _uniform(seed, "availability.peak", clients) - 1)
        return 3600 * (self.peak_hour + shift)

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        begin = self.slot_seconds * _uniform(seed, "availability.begin", clients)
        keys, peaks = (
            randomness.keys(seed, "availability.slot", torch.from_numpy(clients), 0),
            self.peaks(seed, clients),
        )
        slot = np.floor((times + begin) / self.slot_seconds).astype(np.int64)
        found, waiting, ahead = np.full(len(times), np.inf), np.arange(len(times)), np.arange(_SLOTS)
        while len(waiting):
            slots = slot[waiting, None] + ahead
            starts = slots * self.slot_seconds - begin[waiting, None]
            drawn = randomness.uniform_at(keys[waiting], torch.from_numpy(slots)).numpy()
            there = drawn < self.probability(peaks[waiting], starts + self.slot_seconds / 2)
            some = there.any(axis=1)
            on = waiting[some]
            found[on] = np.maximum(times[on], starts[some, there.argmax(axis=1)[some]])
            slot[waiting] += _SLOTS
            waiting = waiting[~some]
        return found

    def table(self) -> dict[str, Any]:
        if self.depth == 0:
            return {"process": "bernoulli", "share": self.share, "slot_seconds": self.slot_seconds}
        more = {"depth": self.depth, "peak_hour": self.peak_hour, "spread_hours": self.spread_hours}
        return {"process": "day-night", "share": self.share, "slot_seconds": self.slot_seconds} | more


@dataclass(frozen=True)
class Markov:
    """Attributes: on_seconds, off_seconds, the mean stretches."""

    on_seconds: float
    off_seconds: float
    _of: dict[tuple[int, int], Stretches] = field(default_factory=dict, repr=False, compare=False)

    @property
    def share(self) -> float:
        return self.on_seconds / (self.on_seconds + self.off_seconds)

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        new = np.array([client for client in clients.tolist() if (seed, client) not in self._of], np.int64)
        first = _uniform(seed, "availability.first", new).tolist()
        for client, begin in zip(new.tolist(), first, strict=True):
            self._of[seed, client] = Stretches(seed, client, self.on_seconds, self.off_seconds, begin)
        asked = [(self._of[seed, client], time) for client, time in zip(clients.tolist(), times.tolist(), strict=True)]
        while short := [stretches for stretches, time in asked if stretches.end <= time]:
            _draw(seed, short)
        return np.array([stretches.next_on(time) for stretches, time in asked])

    def table(self) -> dict[str, Any]:
        return {"process": "markov", "on_seconds": self.on_seconds, "off_seconds": self.off_seconds}


@dataclass(frozen=True)
class Windows:
    """Attributes: on_seconds, off_seconds, always as long; each device's begin is drawn."""

    on_seconds: float
    off_seconds: float

    @property
    def share(self) -> float:
        return self.on_seconds / (self.on_seconds + self.off_seconds)

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        period = self.on_seconds + self.off_seconds
        shift = period * _uniform(seed, "availability.window", clients)
        begun = np.floor((times + shift) / period) * period - shift
        return np.where(times < begun + self.on_seconds, times, begun + period)

    def table(self) -> dict[str, Any]:
        return {"process": "windows", "on_seconds": self.on_seconds, "off_seconds": self.off_seconds}


@dataclass(frozen=True)
class Traced:
    """Attributes: file, of device, start_s, end_s; period_seconds, after which it comes again."""

    file: Path
    period_seconds: float | None
    intervals: traces.Intervals = field(repr=False, compare=False)

    @property
    def share(self) -> float:
        known = self.intervals
        return float((known.ends - known.starts).sum()) / (known.devices * known.period)

    def next_on(self, seed: int, clients: Array, times: Array) -> Array:
        devices = (_uniform(seed, "availability.trace", clients) * self.intervals.devices).astype(np.int64)
        return self.intervals.next_on(devices, times)

    def table(self) -> dict[str, Any]:
        period = {} if self.period_seconds is None else {"period_seconds": self.period_seconds}
        return {"process": "trace", "file": str(self.file)} | period


def parse(told: Any, where: str, folder: Path) -> Process:
    """The process of a word or a table. folder: where its files are looked for. Raises: InputError."""
    if not isinstance(told, str | Mapping):
        raise InputError(where, told, f"must be a word or a table; write one of {words.FORMS}")
    try:
        table = words.availability(told) if isinstance(told, str) else words.checked(told)
        process = table.pop("process")
    except ValueError as error:
        raise InputError(where, told, str(error)) from error
    if process == "trace":
        file = (folder / table["file"]).resolve()
        return Traced(file, table["period_seconds"], traces.intervals(file, table["period_seconds"], where))
    made: dict[str, Any] = {"bernoulli": Slots, "day-night": Slots, "markov": Markov, "windows": Windows}
    found: Process = Always() if process == "always" else made[process](**table)
    return found


def _draw(seed: int, some: list[Stretches]) -> None:
    """Further stretches of each, those with the same number of them in one go."""
    for number in {stretches.drawn for stretches in some}:
        mine = [stretches for stretches in some if stretches.drawn == number]
        clients = torch.tensor([stretches.client for stretches in mine])
        drawn = randomness.uniform(randomness.keys(seed, "availability", clients, number), _TOGETHER).numpy()
        for stretches, uniform in zip(mine, drawn, strict=True):
            stretches.add(uniform)


def _uniform(seed: int, purpose: str, clients: Array) -> Array:
    found: Array = randomness.uniform(randomness.keys(seed, purpose, torch.from_numpy(clients), 0), 1)[:, 0].numpy()
    return found


class Stretches:
    """Of one client. What was drawn is kept, so that a later question costs a search.

    Attributes:
      drawn: how often further stretches were drawn.
      end: seconds until which they are known.
    """

    def __init__(self, seed: int, client: int, on: float, off: float, first: float | None = None) -> None:
        """on, off: mean seconds, > 0. first: in [0, 1), what it draws for its begin, where that is known."""
        self.client, self.drawn, self.end = client, 0, 0.0
        self._seed, self._means = seed, (on, off)
        if first is None:
            first = float(randomness.uniform(randomness.key(seed, "availability.first", client), 1)[0, 0])
        self._begins_off = first * (on + off) >= on
        self._ends = np.zeros(1)  # of each stretch, after a first one of length 0

    def next_on(self, time: float) -> float:
        """`time` if the client is there, else when it comes back."""
        while self.end <= time:
            _draw(self._seed, [self])
        at = int(self._ends.searchsorted(time, side="right"))
        return float(self._ends[at]) if (at % 2 == 1) == self._begins_off else time

    def add(self, uniform: Array) -> None:
        """Further stretches from what was drawn for them, (k,) in [0, 1)."""
        off = np.arange(len(self._ends), len(self._ends) + len(uniform)) % 2 == (1 if self._begins_off else 0)
        means = np.where(off, self._means[1], self._means[0])
        lengths = np.maximum(-np.log1p(-uniform) * means, 1e-9)
        self._ends = np.append(self._ends, self._ends[-1] + np.cumsum(lengths))
        self.drawn, self.end = self.drawn + 1, float(self._ends[-1])
