"""The devices of a simulation's clients: how long each takes to compute and to send, and when it is there."""

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
    """The devices of n clients. Times are virtual seconds; the methods take client ids (m,) and give (m,) float64.

    Attributes:
      kinds: (n,) each client's class.
      step_seconds: (n,) one gradient step.
      overhead: (n,) seconds of a message besides its steps and its bytes.
      up, down: (n,) bytes per second towards the server and from it.
      latency: (n,) seconds of a request and its answer, besides their bytes.
      poll: (n,) seconds between two questions for work; 0 is told at once.
      on, off: (n,) mean seconds of the stretches in which it is there and is not; off 0 is always there.
      watts: (n, 4) while it computes, sends, receives and idles; NaN where nobody knows.
      seed: of when devices are there.
      looks: how the server looks for replies; None: it sees each as it arrives.
      server: seconds that the server takes for a round besides, in which no device can begin it.
    """

    kinds: tuple[str, ...]
    step_seconds: Array
    overhead: Array
    up: Array
    down: Array
    latency: Array
    poll: Array
    on: Array
    off: Array
    watts: Array
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
        dealt = np.arange(clients) % len(devices)
        step, overhead, up, down, latency, poll, on, off = np.array(rows, dtype=np.float64)[dealt].T.copy()
        kinds = tuple(devices[i].kind for i in dealt.tolist())
        watts = np.full((clients, 4), np.nan)
        return cls(kinds, step, overhead, up, down, latency, poll, on, off, watts, seed, looks, server)

    def step(self, clients: Array) -> Array:
        """Of one gradient step."""
        return self.step_seconds[clients]

    def transfer_up(self, clients: Array, nbytes: Array, starts: Array, round: int) -> Array:
        """Of sending (m,) bytes from (m,) times on; latency is not in it. `round`: the one that asked."""
        return nbytes / self.up[clients]

    def transfer_down(self, clients: Array, nbytes: Array, starts: Array, round: int) -> Array:
        """Of receiving; as `transfer_up`."""
        return nbytes / self.down[clients]

    def there(self, clients: Array, times: Array) -> Array:
        """(m,) times, put off for those that are not there until they are."""
        found = times.copy()
        for at in np.flatnonzero(self.off[clients] > 0).tolist():
            found[at] = self._of(int(clients[at])).next_on(float(times[at]))
        return found

    def power(self, clients: Array) -> Array:
        """(m, 4) watts while they compute, send, receive and idle; NaN where nobody knows."""
        return self.watts[clients]

    def _of(self, client: int) -> Stretches:
        if client not in self._stretches:
            means = float(self.on[client]), float(self.off[client])
            self._stretches[client] = Stretches(self.seed, client, *means)
        return self._stretches[client]
