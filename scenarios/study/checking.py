"""Before the first trial: every data set is loaded, every method is built, and what is measured is measured once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from fl_ef21.data import kept
from fl_ef21.errors import InputError
from scenarios import chaos, reference_step, timing
from scenarios.schema import Scenario
from scenarios.setup import Setup, again, prepare
from scenarios.study.plan import Arm, Plan, digest, kind, refuse


def settled(plan: Plan) -> Plan:
    """With what was measured on this machine, so that all trials of a kind compute alike.

    Raises: ScenarioError that lists what cannot work.
    """
    wrong, known, steps = list[str](), dict[str, dict[str, Any]](), dict[str, float]()
    with kept():
        for arms in _alike(plan):
            setup: Setup | None = None
            for arm in arms:
                try:
                    scenario = _same_step(plan.trials(arm)[0].scenario, steps)
                    chaos.check(scenario, "resident")
                    timing.check(scenario, real=False)
                    if setup is None:
                        setup = reference_step.settled(prepare(scenario))
                    else:
                        again(setup, scenario)
                except InputError as error:
                    wrong.append(_told(plan, arm, error))
            if setup is not None:
                known.setdefault(kind(arms[0].scenario), _measured(arms[0].scenario, setup.resolved, steps))
    refuse(wrong)
    return replace(plan, settled=known)


def _alike(plan: Plan) -> Iterator[list[Arm]]:
    """Arms over the same samples and problem."""
    groups: dict[str, list[Arm]] = {}
    for arm in plan.arms:
        groups.setdefault(digest(arm.scenario.model_copy(update={"method": [], "rounds": 1})), []).append(arm)
    yield from groups.values()


def _same_step(scenario: Scenario, steps: Mapping[str, float]) -> Scenario:
    """With the step of the reference device that another setting has measured for the same work."""
    known = steps.get(_work(scenario))
    if scenario.devices is None or known is None or scenario.devices.step_seconds is not None:
        return scenario
    devices = scenario.devices.model_copy(update={"step_seconds": known})
    return scenario.model_copy(update={"devices": devices})


def _measured(given: Scenario, resolved: Scenario, steps: dict[str, float]) -> dict[str, Any]:
    """Keys that the resolved scenario has and the given one had not; a measured step is noted in `steps`."""
    found: dict[str, Any] = {}
    for name in ("model", "devices"):
        before, after = getattr(given, name), getattr(resolved, name)
        changed = {key: value for key, value in after or () if getattr(before, key) != value}
        found |= {name: changed} if changed else {}
    if "step_seconds" in found.get("devices", {}):
        steps.setdefault(_work(given), found["devices"]["step_seconds"])
    return found


def _work(scenario: Scenario) -> str:
    """What decides how long a step takes, and which profiles tell it in steps of a reference."""
    told = scenario.model_dump(include={"data", "model", "train"}) | {
        "profile": scenario.devices and scenario.devices.profile
    }
    return json.dumps(told, sort_keys=True)


def _told(plan: Plan, arm: Arm, error: InputError) -> str:
    where = f"{arm.where}: " if arm.where else ""
    return f"{plan.source.file}: with {where}{arm.name}: {str(error).replace('method[0]', 'method')}"
