"""How long a synchronous round takes on devices: arithmetic over what was sent, in virtual seconds.

A device without work asks for some every `poll` seconds. It fetches the instruction, computes, sends its reply, and
asks again at once. The round is over when the server has seen what it waits for, or at the deadline:

    begins  = first question at or after now + server, once the device is there
    arrives = begins + trips latency + up / rate_up + down / rate_down + overhead + steps step
    now     <- max arrives, or now + server + deadline if that is earlier

Nothing here depends on wall time. Clocks are values: a round gives another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.devices.fleet import Fleet


@dataclass(frozen=True)
class Work:
    """What a round asks of m clients.

    Attributes:
      clients: (m,) int64, each once.
      up, down: (m,) bytes on the wire, requests and answers included.
      trips: requests that follow upon one another, of the instruction and the reply together.
      steps: (m,) gradient steps.
      answered: (m,) bool, who replies at all.
      round: its number.
    """

    clients: Array
    up: Array
    down: Array
    trips: int
    steps: Array
    answered: Array
    round: int = 0


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
        begins = self._begins(fleet, work.clients, out)
        arrives = begins + seconds(fleet, work, begins)
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


def seconds(fleet: Fleet, work: Work, begins: Array) -> Array:
    """(m,) from fetching the instruction at (m,) `begins` until the reply has arrived."""
    i = work.clients
    fetching = work.trips * fleet.latency[i] + fleet.transfer_down(i, work.down, begins, work.round)
    computing = fleet.overhead[i] + work.steps * fleet.step(i)
    found: Array = fetching + computing
    found += fleet.transfer_up(i, work.up, begins + found, work.round)
    return found
