"""How long a synchronous round takes on devices: arithmetic over what was sent, in virtual seconds.

A device without work asks for some every `poll` seconds. It fetches the instruction, computes, sends its reply, and
asks again at once. The round is over when the server has seen what it waits for, or at the deadline:

    begins  = first question at or after now + server, once the device is there
    arrives = begins + trips latency + up / rate_up + down / rate_down + overhead + steps step
    now     <- max arrives, or now + server + deadline if that is earlier

Nothing here depends on wall time. Clocks are values: a round gives another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.devices.availability import Stretches
from fl_ef21.devices.profile import Device


@dataclass(frozen=True)
class Looks:
    """How a server looks for replies: after `first` seconds, then after `growth` times as long each time, `most` at the
    most; after `first` again when something came.
    """

    first: float
    most: float
    growth: float

    def seen(self, begun: float, arrivals: Array) -> float:
        """When the last of the `arrivals` (m,) is seen by a server that began to look at `begun`."""
        waiting, time, pause = np.sort(arrivals), begun, self.first
        at, count = 0, len(arrivals)
        while at < count:
            time += pause
            got = int(np.searchsorted(waiting, time, side="right"))
            pause = self.first if got > at else min(self.growth * pause, self.most)
            at = got
        return time


@dataclass(frozen=True)
class Fleet:
    """The devices of n clients, all (n,) float64; units as in `Device`.

    Attributes:
      seed: of when devices are there.
      looks: how the server looks for replies; None: it sees each as it arrives.
      server: seconds that the server takes for a round besides, in which no device can begin it.
    """

    step: Array
    overhead: Array
    up: Array
    down: Array
    latency: Array
    poll: Array
    on: Array
    off: Array
    seed: int = 0
    looks: Looks | None = None
    server: float = 0.0
    _stretches: dict[int, Stretches] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(
        cls, devices: Sequence[Device], clients: int, seed: int = 0, looks: Looks | None = None, server: float = 0.0
    ) -> Fleet:
        """Client i has device i mod their number."""
        rows = [
            [d.step_seconds, d.overhead_seconds, d.up_bytes_per_second, d.down_bytes_per_second, d.latency_seconds,
             d.poll_seconds, d.on_seconds, d.off_seconds] for d in devices
        ]  # fmt: skip
        table = np.array(rows, dtype=np.float64)[np.arange(clients) % len(devices)]
        step, overhead, up, down, latency, poll, on, off = table.T.copy()
        return cls(step, overhead, up, down, latency, poll, on, off, seed, looks, server)

    def there(self, clients: Array, times: Array) -> Array:
        """(m,) times, put off for those that are not there until they are."""
        found = times.copy()
        for at in np.flatnonzero(self.off[clients] > 0).tolist():
            found[at] = self._of(int(clients[at])).next_on(float(times[at]))
        return found

    def _of(self, client: int) -> Stretches:
        if client not in self._stretches:
            means = float(self.on[client]), float(self.off[client])
            self._stretches[client] = Stretches(self.seed, client, *means)
        return self._stretches[client]


@dataclass(frozen=True)
class Work:
    """What a round asks of m clients.

    Attributes:
      clients: (m,) int64, each once.
      up, down: (m,) bytes on the wire, requests and answers included.
      trips: requests that follow upon one another, of the instruction and the reply together.
      steps: (m,) gradient steps.
      answered: (m,) bool, who replies at all.
    """

    clients: Array
    up: Array
    down: Array
    trips: int
    steps: Array
    answered: Array


@dataclass(frozen=True)
class Clock:
    """Virtual time between two rounds.

    Attributes:
      now: seconds since the first round began.
      free: (n,) when each client's last reply had arrived; then it asks for work.
    """

    now: float
    free: Array

    @classmethod
    def start(cls, clients: int) -> Clock:
        return cls(0.0, np.zeros(clients))

    def round(
        self, fleet: Fleet, work: Work, deadline: float | None = None, wanted: int | None = None
    ) -> tuple[Clock, Array]:
        """The clock after a round, and who is on time: (m,) bool.

        deadline: seconds after which the server waits no more. wanted: replies that are enough, the first to arrive.
        Without either it waits for all who answer.
        """
        out = self.now + fleet.server  # when all instructions are out
        arrives = self._begins(fleet, work.clients, out) + seconds(fleet, work)
        until = np.inf if deadline is None else out + deadline
        on_time: Array = work.answered & (arrives <= until)
        enough = len(arrives) if wanted is None else wanted
        if on_time.sum() > enough:
            first = np.lexsort((work.clients, np.where(on_time, arrives, np.inf)))[:enough]
            on_time = np.isin(np.arange(len(arrives)), first)
        missing = deadline is not None and on_time.sum() < enough
        now = until if missing else _over(fleet, arrives[on_time], out, until)
        free = self.free.copy()
        free[work.clients] = arrives
        return Clock(float(now), free), on_time

    def _begins(self, fleet: Fleet, clients: Array, out: float) -> Array:
        """When each fetches its instruction."""
        free, period = self.free[clients], fleet.poll[clients] + fleet.latency[clients]
        told = fleet.poll[clients] == 0
        asked = np.maximum(0, np.ceil((out - free) / np.where(told, 1, period)))
        begins = np.where(told, np.maximum(free, out), free + asked * period)
        return fleet.there(clients, begins)


def _over(fleet: Fleet, arrivals: Array, out: float, until: float) -> float:
    if not len(arrivals):
        return out
    seen = float(arrivals.max()) if fleet.looks is None else fleet.looks.seen(out, arrivals)
    return min(seen, until)


def seconds(fleet: Fleet, work: Work) -> Array:
    """(m,) from fetching the instruction until the reply has arrived."""
    i = work.clients
    link = work.trips * fleet.latency[i] + work.up / fleet.up[i] + work.down / fleet.down[i]
    found: Array = link + fleet.overhead[i] + work.steps * fleet.step[i]
    return found
