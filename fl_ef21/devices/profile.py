"""Devices one by one: a [[device]] table for each in a profile, a TOML file; fl_ef21/devices/classes.py has [[class]].

    [[device]]
    name = "kitchen"
    class = "raspberry-pi-4"
    step_seconds = 0.031
    overhead_seconds = 0.4
    up_bytes_per_second = 125000.0
    down_bytes_per_second = 1250000.0
    latency_seconds = 0.03
    poll_seconds = 0.5
    on_seconds = 3600.0
    off_seconds = 60.0

A table `[device.measured]` says what the numbers rest on; nobody computes with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fl_ef21.devices import tables
from fl_ef21.errors import InputError

VERSION = 1
POLL = 0.5  # seconds, of `fl-ef21 node`


@dataclass(frozen=True)
class Device:
    """One device, as a simulation sees it.

    Attributes:
      kind: `class` in the file: a word for devices of a sort.
      step_seconds: one gradient step, > 0.
      overhead_seconds: what a message takes besides its steps and its bytes, >= 0.
      up_bytes_per_second, down_bytes_per_second: towards the server and from it, > 0; inf: too fast to measure.
      latency_seconds: of a request and its answer, besides their bytes, >= 0.
      poll_seconds: between two questions for work, >= 0; 0 is a device that is told at once.
      on_seconds, off_seconds: mean length of the stretches in which it is there and is not; off 0 is always there.
      measured: what the numbers rest on.
    """

    name: str
    step_seconds: float
    up_bytes_per_second: float
    down_bytes_per_second: float
    kind: str = "device"
    overhead_seconds: float = 0.0
    latency_seconds: float = 0.0
    poll_seconds: float = POLL
    on_seconds: float = 3600.0
    off_seconds: float = 0.0
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the time in which it is there, in (0, 1]."""
        return self.on_seconds / (self.on_seconds + self.off_seconds)


_KEYS = {"class" if f.name == "kind" else f.name: f.name for f in fields(Device)}
_POSITIVE = ("step_seconds", "up_bytes_per_second", "down_bytes_per_second", "on_seconds")
_NOT_NEGATIVE = ("overhead_seconds", "latency_seconds", "poll_seconds", "off_seconds")
_NEEDED = ("name", "step_seconds", "up_bytes_per_second", "down_bytes_per_second")


def load(path: Path | str) -> list[Device]:
    """The devices of a file that has no classes, at least one. Raises: InputError that names file, device and key."""
    table = tables.read(Path(path))
    if table.get("version", VERSION) != VERSION:
        raise InputError(f"{path} version", table["version"], f"is not known; this program reads version {VERSION}")
    for key in table:
        if key not in ("version", "device"):
            raise InputError(f"{path} {key}", table[key], "there is no such key; devices are [[device]] tables")
    return listed(table.get("device"), str(path))


def listed(found: Any, path: str) -> list[Device]:
    """The devices of the tables [[device]] of a file. Raises: InputError."""
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{path} device", None, "must be one or more tables, each headed [[device]]")
    return [_device(one, f"{path} device[{i}]") for i, one in enumerate(found)]


def _device(table: Mapping[str, Any], where: str) -> Device:
    tables.known(table, list(_KEYS), where)
    tables.needed(table, _NEEDED, where, "a device")
    for key in ("name", "class"):
        tables.text(table.get(key, "x"), f"{where}.{key}")
    numbers = {
        key: tables.number(table[key], f"{where}.{key}", zero=key in _NOT_NEGATIVE, endless=key.endswith("per_second"))
        for key in (*_POSITIVE, *_NOT_NEGATIVE)
        if key in table
    }
    if not isinstance(table.get("measured", {}), dict):
        raise InputError(f"{where}.measured", table["measured"], "must be a table")
    return Device(**{_KEYS[key]: value for key, value in table.items()} | numbers)


def to_toml(devices: Sequence[Device]) -> str:
    """The text of a file of these devices; `load` gives them back."""
    import tomlkit

    return tomlkit.dumps({"version": VERSION, "device": [device_table(one) for one in devices]})


def device_table(device: Device) -> dict[str, Any]:
    """As a file has it."""
    table = {key: getattr(device, name) for key, name in _KEYS.items()}
    table["measured"] = dict(table["measured"])
    if not table["measured"]:
        del table["measured"]
    return table


def save(path: Path, devices: Iterable[Device]) -> None:
    """Write a file that is there as a whole or as it was before."""
    write(path, to_toml(list(devices)))


def write(path: Path, text: str) -> None:
    """The same of any text."""
    scratch = path.with_name(f".{path.name}")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
