"""Classes of devices: a [[class]] table of a profile says how the devices of a sort are spread.

[[class]]
name = "phone"
share = 0.7
step_factor = {median = 20.0, p90_p10 = 39.0}
up_bytes_per_second = {median = 2.9e6, sigma = 0.7, message_sigma = 0.4}
down_bytes_per_second = 1e7
latency_seconds = 0.05
availability = "markov:3600/600"
[class.power]
compute_watts = 3.0
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from fl_ef21.devices import availability, tables
from fl_ef21.devices.availability import Always, Process
from fl_ef21.devices.links import Link, link
from fl_ef21.devices.profile import POLL
from fl_ef21.devices.spread import Spread, parse
from fl_ef21.errors import InputError


@dataclass(frozen=True)
class Power:
    """Watts that a device draws as a whole in each of its states, >= 0; None where nobody knows."""

    compute_watts: float | None = None
    up_watts: float | None = None
    down_watts: float | None = None
    idle_watts: float | None = None

    def row(self) -> list[float]:
        """The four in this order, NaN where nobody knows."""
        return [math.nan if watts is None else watts for watts in astuple(self)]


def _nothing() -> Spread:
    return Spread(0.0)


@dataclass(frozen=True)
class DeviceClass:
    """Devices of a sort.

    Attributes:
      share: of the clients, in proportion to those of the other classes, > 0.
      step_factor: a gradient step in steps of the reference device, > 0.
      up, down: towards the server and from it.
      overhead_seconds: what a message takes besides its steps and its bytes, >= 0.
      latency_seconds: of a request and its answer, besides their bytes, >= 0.
      poll_seconds: between two questions for work, >= 0; 0 is a device that is told at once.
      link_correlation: of the logarithms of a device's two rates, in [-1, 1].
    """

    name: str
    share: float
    step_factor: Spread
    up: Link
    down: Link
    overhead_seconds: Spread = field(default_factory=_nothing)
    latency_seconds: Spread = field(default_factory=_nothing)
    poll_seconds: float = POLL
    link_correlation: float = 0.0
    availability: Process = field(default_factory=Always)
    power: Power = Power()

    def table(self) -> dict[str, Any]:
        """As a file has it; `read` gives it back."""
        power = {key: value for key, value in vars(self.power).items() if value is not None}
        told: dict[str, Any] = {
            "name": self.name, "share": self.share, "step_factor": self.step_factor.table(),
            "up_bytes_per_second": self.up.table(), "down_bytes_per_second": self.down.table(),
            "overhead_seconds": self.overhead_seconds.table(), "latency_seconds": self.latency_seconds.table(),
            "poll_seconds": self.poll_seconds, "link_correlation": self.link_correlation,
            "availability": self.availability.table(), "power": power,
        }  # fmt: skip
        return told


KEYS = (
    "name", "share", "step_factor", "up_bytes_per_second", "down_bytes_per_second", "overhead_seconds",
    "latency_seconds", "poll_seconds", "link_correlation", "availability", "power",
)  # fmt: skip
NEEDED = KEYS[:5]


def listed(found: Any, path: Path) -> list[DeviceClass]:
    """The classes of the tables [[class]] of a file. Raises: InputError that names file, table and key."""
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{path} class", None, "must be one or more tables, each headed [[class]]")
    classes = [_class(one, f"{path} class[{i}]", path.parent) for i, one in enumerate(found)]
    names = [one.name for one in classes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{path} class", twice[0], "is the name of two classes; give each its own")
    return classes


def _class(table: Mapping[str, Any], where: str, folder: Path) -> DeviceClass:
    tables.known(table, KEYS, where)
    tables.needed(table, NEEDED, where, "a class")
    correlation = table.get("link_correlation", 0.0)
    if isinstance(correlation, bool) or not isinstance(correlation, int | float) or not -1 <= correlation <= 1:
        raise InputError(f"{where}.link_correlation", correlation, "must lie in [-1, 1]")
    return DeviceClass(
        name=tables.text(table["name"], f"{where}.name"),
        share=tables.number(table["share"], f"{where}.share"),
        step_factor=parse(table["step_factor"], f"{where}.step_factor"),
        up=link(table["up_bytes_per_second"], "up", f"{where}.up_bytes_per_second", folder),
        down=link(table["down_bytes_per_second"], "down", f"{where}.down_bytes_per_second", folder),
        overhead_seconds=parse(table.get("overhead_seconds", 0.0), f"{where}.overhead_seconds", zero=True),
        latency_seconds=parse(table.get("latency_seconds", 0.0), f"{where}.latency_seconds", zero=True),
        poll_seconds=tables.number(table.get("poll_seconds", POLL), f"{where}.poll_seconds", zero=True),
        link_correlation=float(correlation),
        availability=availability.parse(table.get("availability", "always"), f"{where}.availability", folder),
        power=_power(table.get("power", {}), f"{where}.power"),
    )


def _power(table: Any, where: str) -> Power:
    if not isinstance(table, Mapping):
        raise InputError(where, table, "must be a table of watts")
    tables.known(table, [one.name for one in fields(Power)], where)
    return Power(**{key: tables.number(value, f"{where}.{key}", zero=True) for key, value in table.items()})
