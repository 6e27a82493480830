"""How long a round takes on devices: arithmetic over what was sent, in virtual seconds.

A device without work asks for some every `poll` seconds. It fetches the instruction, computes, sends its reply, and
asks again at once:

    begins     = first question at or after now + server, once the device is there
    downloaded = begins + trips/2 latency + down / rate_down
    computed   = downloaded + overhead + steps step
    arrives    = computed + up / rate_up + trips/2 latency

A round is over when the server has seen what it waits for. Synchronous: all who answer, the first so many, or what is
there at the deadline. Buffered (FedBuff: Nguyen et al. 2022, arXiv 2106.06639): so many replies, of whatever round.

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
      round: its number.
    """

    clients: Array
    up: Array
    down: Array
    trips: int
    steps: Array
    round: int = 0


@dataclass(frozen=True)
class Spans:
    """When each of m clients did what it was asked; all (m,), virtual seconds.

    Attributes:
      begins: it fetches the instruction.
      downloaded, computed: it has it, and has followed it.
      arrives: its reply is at the server.
    """

    clients: Array
    begins: Array
    downloaded: Array
    computed: Array
    arrives: Array


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

    def out(self, fleet: Fleet) -> float:
        """When all instructions of the next round are out."""
        return self.now + fleet.server

    def spans(self, fleet: Fleet, work: Work) -> Spans:
        """What the clients asked in the next round will be doing when."""
        i, half = work.clients, work.trips / 2 * fleet.latency[work.clients]
        begins = self._begins(fleet, i, self.out(fleet))
        downloaded = begins + half + fleet.transfer_down(i, work.down, begins, work.round)
        computed = downloaded + fleet.overhead[i] + work.steps * fleet.step(i)
        arrives = computed + fleet.transfer_up(i, work.up, computed, work.round) + half
        return Spans(i, begins, downloaded, computed, arrives)

    def after(self, now: float, spans: Spans) -> Clock:
        """The clock when a round is over at `now` in which these were asked."""
        free = self.free.copy()
        free[spans.clients] = spans.arrives
        return Clock(float(now), free)

    def synchronous(
        self, fleet: Fleet, spans: Spans, answered: Array, deadline: float | None = None, wanted: int | None = None
    ) -> tuple[float, Array]:
        """When a round is over, and who is on time: (m,) bool.

        answered: (m,) bool, who replies at all. deadline: seconds after which the server waits no more. wanted: replies
        that are enough, the first to arrive. Without either it waits for all who answer.
        """
        out, arrives = self.out(fleet), spans.arrives
        until = np.inf if deadline is None else out + deadline
        on_time: Array = answered & (arrives <= until)
        enough = len(arrives) if wanted is None else wanted
        if on_time.sum() > enough:
            first = np.lexsort((spans.clients, np.where(on_time, arrives, np.inf)))[:enough]
            on_time = np.isin(np.arange(len(arrives)), first)
        missing = deadline is not None and on_time.sum() < enough
        return until if missing else min(_seen(fleet, out, arrives[on_time]), until), on_time

    def buffered(self, fleet: Fleet, arrives: Array, wanted: int, deadline: float | None = None) -> tuple[float, Array]:
        """When so many replies have been seen, and which have by then: (m,) bool.

        arrives: (m,) of all that are on their way, whatever round asked for them. deadline: seconds after which fewer
        will do, but not none. Where fewer are on their way it waits for these.
        """
        out = self.out(fleet)
        if not len(arrives):
            return out, np.zeros(0, bool)
        order = np.sort(arrives)
        over = _seen(fleet, out, order[: max(1, min(wanted, len(order)))])
        if deadline is not None:
            over = min(over, max(out + deadline, _seen(fleet, out, order[:1])))
        return over, arrives <= over

    def _begins(self, fleet: Fleet, clients: Array, out: float) -> Array:
        """When each fetches its instruction."""
        free, period = self.free[clients], fleet.poll[clients] + fleet.latency[clients]
        told = fleet.poll[clients] == 0
        asked = np.maximum(0, np.ceil((out - free) / np.where(told, 1, period)))
        begins = np.where(told, np.maximum(free, out), free + asked * period)
        return fleet.there(clients, begins)


def _seen(fleet: Fleet, out: float, arrivals: Array) -> float:
    """When the last of these has been seen by a server that looks from `out` on."""
    if not len(arrivals):
        return out
    return max(out, float(arrivals.max())) if fleet.looks is None else fleet.looks.seen(out, arrivals)
