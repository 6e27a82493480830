"""Which class each client is of, and what its device drew: functions of (seed, client) and the number of clients.

Every class has its share of the clients, rounded by largest remainders; who is of which is a seeded permutation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.devices.classes import DeviceClass
from fl_ef21.devices.links import Link, Links
from fl_ef21.devices.spread import Spread, normals
from fl_ef21.devices.traces import Course


def counts(shares: Sequence[float], clients: int) -> Array:
    """(classes,) int64 that sum to the clients; of equal remainders the first class has it."""
    exact = clients * np.array(shares, dtype=np.float64) / np.sum(shares)
    found: Array = np.floor(exact + 1e-9).astype(np.int64)
    most = np.argsort(-(exact - found), kind="stable")[: clients - int(found.sum())]
    found[most] += 1
    return found


@dataclass(frozen=True)
class Dealt:
    """Clients first .. first + n - 1 and their classes.

    Attributes:
      number: (n,) of each client's class.
      clients: (n,) int64.
    """

    classes: tuple[DeviceClass, ...]
    seed: int
    number: Array
    clients: Array

    @classmethod
    def of(cls, classes: Sequence[DeviceClass], clients: int, seed: int, first: int = 0) -> Dealt:
        """first: those before have devices of their own."""
        ids = np.arange(first, clients)
        turn = randomness.words(randomness.keys(seed, "device.class", torch.from_numpy(ids), 0), 1)[:, 0]
        number = np.empty(len(ids), dtype=np.int64)
        number[torch.argsort(turn, stable=True).numpy()] = np.repeat(
            np.arange(len(classes)), counts([one.share for one in classes], len(ids))
        )
        return cls(tuple(classes), seed, number, ids)

    def kinds(self) -> list[str]:
        """(n,) names."""
        return [self.classes[number].name for number in self.number.tolist()]

    def drawn(self, spread: Callable[[DeviceClass], Spread], purpose: str) -> Array:
        """(n,) values of a spread of each class."""
        return self._values(spread, normals(self.seed, f"device.{purpose}", self.clients))

    def rates(self) -> tuple[Array, Array]:
        """(n,) bytes per second up and down, correlated as the classes say."""
        up, other = (normals(self.seed, f"device.{purpose}", self.clients) for purpose in ("up", "down"))
        r = self.each(lambda one: one.link_correlation)
        down = r * up + np.sqrt(1 - r * r) * other
        return self._values(lambda one: one.up.rate, up), self._values(lambda one: one.down.rate, down)

    def each(self, value: Callable[[DeviceClass], float]) -> Array:
        """(n,) numbers that all of a class have."""
        return np.array([value(one) for one in self.classes])[self.number]

    def followed(self, link: Callable[[DeviceClass], Link]) -> tuple[tuple[Course, ...], Array]:
        """The courses that links follow, and (n,) which of them each; -1 is none."""
        courses: list[Course] = []
        which = np.full(len(self.clients), -1, dtype=np.int64)
        keys = randomness.keys(self.seed, "device.trace", torch.from_numpy(self.clients), 0)
        uniform = randomness.uniform(keys, 1)[:, 0].numpy()
        for number, one in enumerate(self.classes):
            known = link(one).courses
            mine = self.number == number
            if known:
                which[mine] = len(courses) + np.floor(uniform[mine] * len(known)).astype(np.int64)
                courses += known
        return tuple(courses), which

    def _values(self, spread: Callable[[DeviceClass], Spread], z: Array) -> Array:
        found = np.empty(len(self.clients))
        for number, one in enumerate(self.classes):
            mine = self.number == number
            found[mine] = spread(one).of(z[mine])
        return found


def links(dealt: Dealt, direction: str, rates: Array, link: Callable[[DeviceClass], Link], before: Array) -> Links:
    """One direction of everybody's links; before: the rates of clients with devices of their own."""
    courses, which = dealt.followed(link)
    none = np.full(len(before), -1)
    sigmas = np.append(np.zeros(len(before)), dealt.each(lambda one: link(one).message_sigma))
    return Links(direction, np.append(before, rates), sigmas, dealt.seed, courses, np.append(none, which))
