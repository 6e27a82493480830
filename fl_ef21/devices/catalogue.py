"""Profiles as a whole: what a file says, those that come with us, and where each is found.

A file has [[class]] tables, [[device]] tables, or both: then the first clients are the devices, and the others are of
the classes. Files with classes say version = 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_ef21.devices import classes, profile, tables, words
from fl_ef21.devices.classes import DeviceClass
from fl_ef21.devices.profile import Device
from fl_ef21.errors import InputError

VERSION = 2
TEXTS = ("about", "synthetic")  # what it stands for, and what in it is nobody's measurement


@dataclass(frozen=True)
class Profile:
    """What a file says.

    Attributes:
      devices, classes: one of them at least.
      about: what it stands for. synthetic: what of it is nobody's measurement.
      sources: what the numbers rest on.
    """

    name: str
    devices: tuple[Device, ...] = ()
    classes: tuple[DeviceClass, ...] = ()
    about: str = ""
    synthetic: str = ""
    sources: tuple[str, ...] = ()

    @property
    def needs_reference(self) -> bool:
        """Whether steps are told in steps of a reference device."""
        return bool(self.classes)


def find(word: str | Path) -> Profile:
    """The profile of a built-in name or of a path. Raises: InputError: the nearest name, or file, table and key."""
    path = words.named(str(word))
    table = tables.read(path)
    version = table.get("version", VERSION if "class" in table else profile.VERSION)
    if version not in (profile.VERSION, VERSION):
        told = f"is not known; this program reads versions {profile.VERSION} and {VERSION}"
        raise InputError(f"{path} version", version, told)
    if version == profile.VERSION and "class" in table:
        raise InputError(f"{path} version", version, f"has no classes; [[class]] tables need version = {VERSION}")
    if version == profile.VERSION:
        return Profile(path.stem, tuple(profile.load(path)))
    tables.known(table, ("version", "device", "class", "sources", *TEXTS), str(path))
    if "device" not in table and "class" not in table:
        raise InputError(f"{path} class", None, "must be one or more tables, each headed [[class]] or [[device]]")
    texts = {key: tables.text(table[key], f"{path} {key}") for key in TEXTS if key in table}
    return Profile(
        path.stem,
        devices=tuple(profile.listed(table["device"], str(path))) if "device" in table else (),
        classes=tuple(classes.listed(table["class"], path)) if "class" in table else (),
        sources=_sources(table, path),
        **texts,
    )


def _sources(table: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    found = table.get("sources", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(f"{path} sources", found, "must be a list of texts")
    return tuple(found)


def to_toml(told: Profile) -> str:
    """The text of a file; `find` gives the profile back."""
    import tomlkit

    table: dict[str, Any] = {"version": VERSION}
    table |= {key: getattr(told, key) for key in TEXTS if getattr(told, key)}
    if told.sources:
        table["sources"] = list(told.sources)
    if told.devices:
        table["device"] = [profile.device_table(one) for one in told.devices]
    if told.classes:
        table["class"] = [one.table() for one in told.classes]
    return tomlkit.dumps(table)


def save(path: Path, told: Profile) -> None:
    """Write a file that is there as a whole or as it was before."""
    profile.write(path, to_toml(told))
