"""A number of a device that differs from device to device: log-normal about a median.

value_i = median exp(sigma z_i),   z_i standard normal, drawn by counting from (seed, purpose, client)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.devices import tables
from fl_ef21.errors import InputError

Z90 = 1.2815515655446004  # of a standard normal, 90 % lie below


@dataclass(frozen=True)
class Spread:
    """Attributes: median, >= 0; sigma, of the logarithm over devices, >= 0."""

    median: float
    sigma: float = 0.0

    def of(self, z: Array) -> Array:
        """(m,) values of devices that drew (m,) standard normals."""
        found: Array = self.median * np.exp(self.sigma * z)
        return found

    def quantile(self, z: float) -> float:
        """The value that a device with this standard normal has."""
        return self.median * math.exp(self.sigma * z)

    def table(self) -> float | dict[str, float]:
        """As a profile has it."""
        return self.median if self.sigma == 0 else {"median": self.median, "sigma": self.sigma}


def normals(seed: int, purpose: str, clients: Array, round: int = 0) -> Array:
    """(m,) float64 standard normals of clients (m,), as `randomness.normal` draws them but without torch's threads."""
    u = randomness.uniform(randomness.keys(seed, purpose, torch.from_numpy(clients), round), 2).numpy()
    found: Array = np.sqrt(-2 * np.log1p(-u[:, 0])) * np.cos(2 * np.pi * u[:, 1])
    return found


def parse(value: Any, where: str, *, zero: bool = False, endless: bool = False, others: tuple[str, ...] = ()) -> Spread:
    """A number, or a table of median and sigma or p90_p10. Raises: InputError.

    zero, endless: whether 0, inf may be. others: keys that somebody else reads.
    """
    if not isinstance(value, Mapping):
        return Spread(tables.number(value, where, zero=zero, endless=endless))
    tables.known(value, ("median", "sigma", "p90_p10", *others), where)
    tables.needed(value, ("median",), where, "a spread")
    median = tables.number(value["median"], f"{where}.median", zero=zero, endless=endless)
    if "sigma" in value and "p90_p10" in value:
        raise InputError(f"{where}.p90_p10", value["p90_p10"], "says the same as sigma; leave one of them out")
    if "p90_p10" in value:
        ratio = tables.number(value["p90_p10"], f"{where}.p90_p10")
        if ratio < 1:
            raise InputError(f"{where}.p90_p10", ratio, "must be at least 1: the 90 % quantile by the 10 % quantile")
        return Spread(median, math.log(ratio) / (2 * Z90))
    return Spread(median, tables.number(value.get("sigma", 0.0), f"{where}.sigma", zero=True))
