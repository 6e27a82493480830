"""The devices of [devices]: its profile dealt to a scenario's clients, and the step of the reference device.

A profile with classes tells steps in steps of a reference device. Its seconds are devices.step_seconds; where that is
not given, this machine is the reference: one client's gradient is measured once, when the run begins, and the resolved
scenario says what was found, so that who goes on or repeats the run has the same virtual time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import torch

from fl_ef21.devices import availability, catalogue, words
from fl_ef21.devices.availability import Process, Traced
from fl_ef21.devices.catalogue import Profile
from fl_ef21.devices.fleet import Fleet, Looks
from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError
from fl_ef21.problems.dealing import dealt
from fl_ef21.threads import computing_with
from scenarios.loading import parse
from scenarios.run_file import RunFile
from scenarios.schema import Scenario
from scenarios.setup import Setup

BUDGET = 0.3  # seconds for all repetitions
MOST = 15  # repetitions


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
    return Fleet.deal(
        profile, clients, scenario.seed, devices.step_seconds, _availability(scenario), looks, devices.server_seconds
    )


def kinds(scenario: Scenario, clients: int) -> tuple[str, ...]:
    """(clients,) each client's class of device, known before anything is measured; "" without [devices].

    Raises: InputError where the profile cannot be used.
    """
    profile = check(scenario)
    return ("",) * clients if profile is None else Fleet.deal(profile, clients, scenario.seed, 1.0).kinds


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


def settled(setup: Setup) -> Setup:
    """The same with devices.step_seconds, measured here where a profile needs it and it is not given.

    Raises: InputError where there are no samples to measure with.
    """
    profile, devices = check(setup.scenario), setup.scenario.devices
    if profile is None or devices is None or not profile.needs_reference or devices.step_seconds is not None:
        return setup
    if not len(setup.held):
        advice = f"profile {profile.name} needs it, and no samples are here to measure a step with; give its seconds"
        raise InputError("devices.step_seconds", None, advice)
    return _with_step(setup, float(f"{_measured(setup):.3g}"))


def told(before: Scenario, setup: Setup) -> str:
    """What was measured, in words; empty where nothing was."""
    devices = setup.scenario.devices
    if devices is None or devices.step_seconds is None or (before.devices and before.devices.step_seconds):
        return ""
    return f"a step of the reference device takes {1e3 * devices.step_seconds:.3g} ms, as measured on this machine"


def as_before(setup: Setup, left: RunFile) -> Setup:
    """The same with what a run that goes on has measured."""
    before, devices = parse(left.scenario).devices, setup.scenario.devices
    if before is None or devices is None or devices.step_seconds is not None or before.step_seconds is None:
        return setup
    return _with_step(setup, before.step_seconds)


def _availability(scenario: Scenario) -> Process | None:
    assert scenario.devices is not None
    word = scenario.devices.availability
    return None if word is None else availability.parse(word, "devices.availability", Path())


def _with_step(setup: Setup, seconds: float) -> Setup:
    assert setup.scenario.devices is not None
    devices = setup.scenario.devices.model_copy(update={"step_seconds": seconds})
    return replace(setup, scenario=setup.scenario.model_copy(update={"devices": devices}))


def _measured(setup: Setup) -> float:
    """Seconds of one gradient step of a client like most, alone: the least of several repetitions."""
    problem, wanted = setup.problem, setup.scenario.train.local_steps
    costs = problem.costs[setup.held.start : setup.held.stop]
    client = setup.held[int((costs - costs.median()).abs().argmin())]
    who = torch.tensor([client])
    steps = int(dealt((wanted,) if isinstance(wanted, int) else tuple(wanted), who)[0])
    with computing_with(Settings(cpus_per_actor=setup.scenario.engine.cpus_per_actor).threads):
        x, now = problem.x0(), _clock()
        problem.gradients(x, who, 1)  # the first call is slower
        best, end = float("inf"), time.perf_counter() + BUDGET
        for repetition in range(MOST):
            if repetition and time.perf_counter() > end:
                break
            began = now()
            problem.gradients(x, who, 1)
            best = min(best, now() - began)
    return best / steps


def _clock() -> Callable[[], float]:
    """Of this thread's work alone where it is the only one, so that other processes disturb less."""

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    if torch.cuda.is_available():
        return synchronised
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
