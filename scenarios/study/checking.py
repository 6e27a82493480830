"""Before the first trial: every data set is loaded, every method is built, and what is measured is measured once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fl_ef21.data import kept
from fl_ef21.errors import InputError
from scenarios import chaos, timing
from scenarios.setup import Setup, again, prepare
from scenarios.study.plan import Arm, Plan, digest, kind, refuse


def settled(plan: Plan) -> Plan:
    """With what was measured on this machine, so that all trials of a kind compute alike.

    Raises: ScenarioError that lists what cannot work.
    """
    wrong, known = list[str](), dict[str, dict[str, Any]]()
    with kept():
        for arms in _alike(plan):
            setup: Setup | None = None
            for arm in arms:
                try:
                    scenario = plan.trials(arm)[0].scenario
                    chaos.check(scenario, "resident")
                    timing.check(scenario, real=False)
                    setup = prepare(scenario) if setup is None else again(setup, scenario)
                except InputError as error:
                    wrong.append(_told(plan, arm, error))
            if setup is not None:
                known.setdefault(kind(arms[0].scenario), _measured(setup))
    refuse(wrong)
    return replace(plan, settled=known)


def _alike(plan: Plan) -> Iterator[list[Arm]]:
    """Arms over the same samples and problem."""
    groups: dict[str, list[Arm]] = {}
    for arm in plan.arms:
        groups.setdefault(digest(arm.scenario.model_copy(update={"method": [], "rounds": 1})), []).append(arm)
    yield from groups.values()


def _measured(setup: Setup) -> dict[str, Any]:
    """Keys that the resolved scenario has and the given one had not."""
    found: dict[str, Any] = {}
    for name in ("model", "devices"):
        before, after = getattr(setup.scenario, name), getattr(setup.resolved, name)
        changed = {key: value for key, value in after or () if getattr(before, key) != value}
        found |= {name: changed} if changed else {}
    return found


def _told(plan: Plan, arm: Arm, error: InputError) -> str:
    where = f"{arm.where}: " if arm.where else ""
    return f"{plan.source.file}: with {where}{arm.name}: {str(error).replace('method[0]', 'method')}"
