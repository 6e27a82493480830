"""The devices of a simulation's clients: how long each takes to compute and to send, and when it is there."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.devices.availability import Always, Markov, Process
from fl_ef21.devices.catalogue import Profile
from fl_ef21.devices.classes import DeviceClass, Power
from fl_ef21.devices.dealing import Dealt, links
from fl_ef21.devices.links import Links
from fl_ef21.devices.profile import Device
from fl_ef21.errors import InputError


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
        growing, waiting, time, at = self._growing(), sorted(arrivals.tolist()), begun, 0
        while at < len(waiting):
            ahead = waiting[at] - time
            if ahead <= growing[-1]:
                time += growing[bisect_left(growing, ahead)]
            else:
                pause = self.most if self.growth > 1 else self.first
                time += growing[-1] + math.ceil((ahead - growing[-1]) / pause) * pause
            at = max(at + 1, bisect_right(waiting, time))
        return time

    def _growing(self) -> list[float]:
        """When it looks after something came, in seconds from then, until the pauses grow no more."""
        pauses = [self.first]
        while pauses[-1] < self.most and self.growth > 1:
            pauses.append(min(self.growth * pauses[-1], self.most))
        return np.cumsum(pauses).tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Fleet:
    """The devices of n clients. Times are virtual seconds; the methods take client ids (m,) and give (m,) float64.

    Attributes:
      kinds: (n,) each client's class.
      step_seconds: (n,) one gradient step.
      overhead: (n,) seconds of a message besides its steps and its bytes.
      latency: (n,) seconds of a request and its answer, besides their bytes.
      poll: (n,) seconds between two questions for work; 0 is told at once.
      up, down: their links, towards the server and from it.
      processes, process: when they are there; (n,) which of the processes each has.
      watts: (n, 4) while it computes, sends, receives and idles; NaN where nobody knows.
      seed: of when devices are there.
      looks: how the server looks for replies; None: it sees each as it arrives.
      server: seconds that the server takes for a round besides, in which no device can begin it.
    """

    kinds: tuple[str, ...]
    step_seconds: Array
    overhead: Array
    latency: Array
    poll: Array
    up: Links
    down: Links
    processes: tuple[Process, ...]
    process: Array
    watts: Array
    seed: int = 0
    looks: Looks | None = None
    server: float = 0.0

    @classmethod
    def of(
        cls, devices: Sequence[Device], clients: int, seed: int = 0, looks: Looks | None = None, server: float = 0.0
    ) -> Fleet:
        """Client i has device i mod their number."""
        dealt = np.arange(clients) % len(devices)
        step, overhead, up, down, latency, poll = _table(devices)[dealt].T.copy()
        kinds = tuple(devices[i].kind for i in dealt.tolist())
        processes, process = _processes(devices)
        return cls(
            kinds, step, overhead, latency, poll, Links.constant("up", up), Links.constant("down", down),
            processes, process[dealt], np.full((clients, 4), np.nan), seed, looks, server,
        )  # fmt: skip

    @classmethod
    def deal(
        cls, profile: Profile, clients: int, seed: int = 0, step_seconds: float | None = None,
        availability: Process | None = None, looks: Looks | None = None, server: float = 0.0,
    ) -> Fleet:  # fmt: skip
        """The devices that a profile deals to so many clients.

        step_seconds: of the reference device, which classes need. availability: of everybody, instead of the
        profile's. Raises: InputError where the step of the reference device is missing.
        """
        if not profile.classes:
            fleet = cls.of(profile.devices, clients, seed, looks, server)
        elif step_seconds is None:
            advice = (
                f"is missing: the profile {profile.name} tells steps in steps of a reference device; give its seconds"
            )
            raise InputError("devices.step_seconds", None, advice)
        else:
            fleet = cls._of_classes(profile, clients, seed, step_seconds, looks, server)
        if availability is None:
            return fleet
        everybody = np.zeros(clients, dtype=np.int64)
        return replace(fleet, processes=(availability,), process=everybody)

    @classmethod
    def _of_classes(
        cls, profile: Profile, clients: int, seed: int, step_seconds: float, looks: Looks | None, server: float
    ) -> Fleet:
        devices = profile.devices[:clients]
        dealt = Dealt.of(profile.classes, clients, seed, first=len(devices))
        step, overhead, up, down, latency, poll = _table(devices).T
        rates_up, rates_down = dealt.rates()
        processes, process = _processes(devices, profile.classes)
        watts = np.array([one.power.row() for one in profile.classes])[dealt.number]
        return cls(
            kinds=(*(one.kind for one in devices), *dealt.kinds()),
            step_seconds=np.append(step, step_seconds * dealt.drawn(lambda one: one.step_factor, "step")),
            overhead=np.append(overhead, dealt.drawn(lambda one: one.overhead_seconds, "overhead")),
            latency=np.append(latency, dealt.drawn(lambda one: one.latency_seconds, "latency")),
            poll=np.append(poll, dealt.each(lambda one: one.poll_seconds)),
            up=links(dealt, "up", rates_up, lambda one: one.up, up),
            down=links(dealt, "down", rates_down, lambda one: one.down, down),
            processes=processes,
            process=np.append(process[: len(devices)], process[len(devices) + dealt.number]),
            watts=np.concatenate([np.tile(Power().row(), (len(devices), 1)), watts]),
            seed=seed, looks=looks, server=server,
        )  # fmt: skip

    def step(self, clients: Array) -> Array:
        """Of one gradient step."""
        return self.step_seconds[clients]

    def transfer_up(self, clients: Array, nbytes: Array, starts: Array, round: int) -> Array:
        """Of sending (m,) bytes from (m,) times on; latency is not in it. `round`: the one that asked."""
        return self.up.seconds(clients, nbytes, starts, round)

    def transfer_down(self, clients: Array, nbytes: Array, starts: Array, round: int) -> Array:
        """Of receiving; as `transfer_up`."""
        return self.down.seconds(clients, nbytes, starts, round)

    def there(self, clients: Array, times: Array) -> Array:
        """(m,) times, put off for those that are not there until they are."""
        found, process = times.copy(), self.process[clients]
        for number, one in enumerate(self.processes):
            mine = np.flatnonzero(process == number)
            if len(mine) and not isinstance(one, Always):
                found[mine] = one.next_on(self.seed, clients[mine], times[mine])
        return found

    def power(self, clients: Array) -> Array:
        """(m, 4) watts while they compute, send, receive and idle; NaN where nobody knows."""
        return self.watts[clients]


def _table(devices: Sequence[Device]) -> Array:
    """(devices, 6): step, overhead, up, down, latency, poll."""
    rows = [
        [d.step_seconds, d.overhead_seconds, d.up_bytes_per_second, d.down_bytes_per_second, d.latency_seconds,
         d.poll_seconds] for d in devices
    ]  # fmt: skip
    return np.array(rows, dtype=np.float64).reshape(len(devices), 6)


def _processes(devices: Sequence[Device], classes: Sequence[DeviceClass] = ()) -> tuple[tuple[Process, ...], Array]:
    """Those that somebody has, each once, and (devices + classes,) which."""
    number: dict[Process, int] = {}
    each = [*(_process(one) for one in devices), *(one.availability for one in classes)]
    which = [number.setdefault(process, len(number)) for process in each]
    return tuple(number), np.array(which, dtype=np.int64)


def _process(device: Device) -> Process:
    return Always() if device.off_seconds == 0 else Markov(device.on_seconds, device.off_seconds)
