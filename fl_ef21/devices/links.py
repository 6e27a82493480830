"""How fast bytes go over a device's link, which may differ from device to device, from message to message and in time.

    constant     rate_i
    message      rate_i exp(sigma z), z standard normal for each client, direction and round
    trace        the rate over time of one of a file's links, begun somewhere that is drawn

Everything is a function of (seed, client, direction, round) and of when a transfer begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.devices import tables, traces
from fl_ef21.devices.spread import Spread, normals, parse
from fl_ef21.devices.traces import Course


@dataclass(frozen=True)
class Link:
    """One direction of a class's link.

    Attributes:
      rate: bytes per second over devices, > 0; of a trace its mean.
      message_sigma: of the logarithm of the rate over a device's messages.
      trace: the file that says how the rate goes, None where it does not follow one.
    """

    rate: Spread
    message_sigma: float = 0.0
    trace: Path | None = None
    courses: tuple[Course, ...] = field(default=(), repr=False, compare=False)

    def table(self) -> float | dict[str, Any]:
        """As a profile has it."""
        if self.trace is not None:
            return {"trace": str(self.trace)}
        rate = self.rate.table()
        if self.message_sigma == 0:
            return rate
        told = rate if isinstance(rate, dict) else {"median": rate}
        return told | {"message_sigma": self.message_sigma}


def link(told: Any, direction: str, where: str, folder: Path) -> Link:
    """The link of a number or a table. direction: "up" or "down". Raises: InputError."""
    if not isinstance(told, Mapping):
        return Link(parse(told, where, endless=True))
    if "trace" in told:
        tables.known(told, ("trace",), where)
        file = (folder / tables.text(told["trace"], f"{where}.trace")).resolve()
        courses = traces.courses(file, direction, f"{where}.trace")
        mean = math.exp(float(np.mean([math.log(course.mean) for course in courses])))
        return Link(Spread(mean), 0.0, file, courses)
    sigma = tables.number(told.get("message_sigma", 0.0), f"{where}.message_sigma", zero=True)
    return Link(parse(told, where, endless=True, others=("message_sigma",)), sigma)


@dataclass(frozen=True)
class Links:
    """One direction of the links of n clients.

    Attributes:
      direction: "up" or "down", which tells draws apart.
      rates: (n,) bytes per second, > 0; of who follows a course its mean.
      sigmas: (n,) of the logarithm over messages.
      seed: of what is drawn.
      courses, course: those that somebody follows; (n,) which, -1 is none.
    """

    direction: str
    rates: Array
    sigmas: Array
    seed: int
    courses: tuple[Course, ...]
    course: Array

    @classmethod
    def constant(cls, direction: str, rates: Array) -> Links:
        return cls(direction, rates, np.zeros(len(rates)), 0, (), np.full(len(rates), -1))

    def seconds(self, clients: Array, nbytes: Array, starts: Array, round: int) -> Array:
        """(m,) that (m,) bytes take whose transfer begins at (m,) times."""
        rates, sigmas = self.rates[clients], self.sigmas[clients]
        found: Array = nbytes / rates
        vary = np.flatnonzero(sigmas)
        if len(vary):
            z = normals(self.seed, f"link.{self.direction}.message", clients[vary], round)
            found[vary] /= np.exp(sigmas[vary] * z)
        for number in np.unique(self.course[clients]).tolist() if self.courses else ():
            if number >= 0:
                mine = np.flatnonzero(self.course[clients] == number)
                moved = starts[mine] + self._begins(clients[mine], self.courses[number])
                found[mine] = self.courses[number].seconds(moved, np.asarray(nbytes)[mine])
        return found

    def _begins(self, clients: Array, course: Course) -> Array:
        """Where in the course each is at time 0; the same for both directions, which are of one link."""
        keys = randomness.keys(self.seed, "link.begin", torch.from_numpy(clients), 0)
        found: Array = course.period * randomness.uniform(keys, 1)[:, 0].numpy()
        return found
