"""The devices of [devices]: its profile dealt to a scenario's clients."""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.devices import availability, catalogue, words
from fl_ef21.devices.availability import Always, Process, Traced
from fl_ef21.devices.catalogue import Profile
from fl_ef21.devices.fleet import Fleet, Looks
from fl_ef21.errors import InputError
from scenarios.run_file import RunFile
from scenarios.schema import Scenario

if TYPE_CHECKING:
    pass


def check(scenario: Scenario) -> Profile | None:
    """The profile, None without [devices]. Raises: InputError for what cannot be."""
    devices = scenario.devices
    if devices is None:
        return None
    found = catalogue.find(devices.profile)
    _availability(scenario)
    if devices.step_seconds is not None and not found.needs_reference:
        advice = f"has no meaning where every [[device]] tells its own, as in {devices.profile}; remove it"
        raise InputError("devices.step_seconds", devices.step_seconds, advice)
    return found


def fleet(scenario: Scenario, clients: int, looks: Looks | None = None) -> Fleet:
    """The clients' devices. Raises: InputError where the profile cannot be used."""
    profile, devices = check(scenario), scenario.devices
    assert profile is not None and devices is not None
    found = Fleet.deal(
        profile, clients, scenario.seed, devices.step_seconds, _availability(scenario), looks, devices.server_seconds
    )
    return found if scenario.heterogeneity is None else dialled(found, scenario.heterogeneity, scenario.seed)


def dialled(fleet: Fleet, heterogeneity: float, seed: int) -> Fleet:
    """Speeds closer to their median, step -> median (step / median)^h, and a share h of the clients comes and goes."""
    median = float(np.median(fleet.step_seconds))
    step = median * (fleet.step_seconds / median) ** heterogeneity
    n, always = len(fleet.kinds), len(fleet.processes)
    staying = np.random.default_rng([seed, 0xD1A1]).permutation(n)[round(heterogeneity * n) :]
    process = fleet.process.copy()
    process[staying] = always
    return replace(fleet, step_seconds=step, processes=(*fleet.processes, Always()), process=process)


def steps(scenario: Scenario, clients: int) -> Array:
    """(clients,) seconds of a gradient step, known but for a common factor before anything is measured.

    Raises: InputError where the profile cannot be used.
    """
    profile = check(scenario)
    assert profile is not None
    one = 1.0 if profile.needs_reference else None
    return Fleet.deal(profile, clients, scenario.seed, one).step_seconds


def kinds(scenario: Scenario, clients: int) -> tuple[str, ...]:
    """(clients,) each client's class of device, known before anything is measured; "" without [devices].

    Raises: InputError where the profile cannot be used.
    """
    profile = check(scenario)
    return ("",) * clients if profile is None else Fleet.deal(profile, clients, scenario.seed, 1.0).kinds


def uplinks(scenario: Scenario, clients: int) -> Array:
    """(clients,) mean bytes per second towards the server. Raises: InputError where the profile cannot be used."""
    profile = check(scenario)
    assert profile is not None
    fleet = Fleet.deal(profile, clients, scenario.seed, 1.0 if profile.needs_reference else None)
    return fleet.up.rates


def classes(scenario: Scenario) -> set[str]:
    """The names of all classes of the profile, also of such as no client is. Raises: InputError."""
    profile = check(scenario)
    assert profile is not None
    return {one.name for one in profile.classes} | {one.kind for one in profile.devices}


def digest(scenario: Scenario) -> str:
    """Of the profile and of the traces it follows; empty without [devices]."""
    profile = check(scenario)
    if profile is None or scenario.devices is None:
        return ""
    processes = [one.availability for one in profile.classes]
    if (given := _availability(scenario)) is not None:
        processes.append(given)
    files = [words.named(scenario.devices.profile), *(one.file for one in processes if isinstance(one, Traced))]
    files += [link.trace for one in profile.classes for link in (one.up, one.down) if link.trace is not None]
    return blake2b(b"".join(blake2b(file.read_bytes()).digest() for file in files), digest_size=16).hexdigest()


def refuse_another(left: RunFile, scenario: Scenario) -> None:
    """Raises: InputError where the profile is not the one that a run began with."""
    if scenario.devices is not None and left.devices and left.devices != digest(scenario):
        advice = (
            "this profile or a trace of it changed since the run began: put it back, or start a run in a new folder"
        )
        raise InputError("devices.profile", scenario.devices.profile, advice)


def _availability(scenario: Scenario) -> Process | None:
    assert scenario.devices is not None
    word = scenario.devices.availability
    return None if word is None else availability.parse(word, "devices.availability", Path())
