"""The step of the reference device, in which a profile with classes tells the steps of all others.

Its seconds are devices.step_seconds; where that is not given, this machine is the reference: one client's gradient is
measured once, when the run begins, and the resolved scenario says what was found, so that who goes on or repeats the
run has the same virtual time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError
from fl_ef21.problems.dealing import dealt
from fl_ef21.threads import computing_with
from scenarios import fleets
from scenarios.by_class import each
from scenarios.loading import parse
from scenarios.run_file import RunFile
from scenarios.schema import Scenario
from scenarios.setup import Setup

BUDGET = 0.3  # seconds for all repetitions
MOST = 15  # repetitions


def settled(setup: Setup) -> Setup:
    """The same with devices.step_seconds, measured here where a profile needs it and it is not given.

    Raises: InputError where there are no samples to measure with.
    """
    profile, devices = fleets.check(setup.scenario), setup.scenario.devices
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


def _with_step(setup: Setup, seconds: float) -> Setup:
    assert setup.scenario.devices is not None
    devices = setup.scenario.devices.model_copy(update={"step_seconds": seconds})
    return replace(setup, scenario=setup.scenario.model_copy(update={"devices": devices}))


def _measured(setup: Setup) -> float:
    """Seconds of one gradient step of a client like most, alone: the least of several repetitions."""
    problem, scenario = setup.problem, setup.scenario
    wanted = each(scenario, "train.local_steps", scenario.train.local_steps)
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
