"""Whether a method suits its scenario: hyperparameters it knows, a compressor it is defined for, rounds it can make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from clients import METHODS
from fl_ef21.errors import InputError, nearest
from fl_ef21.facts import Facts, facts_of
from fl_ef21.plan import Plan
from fl_ef21.problems.points import local_steps
from fl_ef21.schedule import Schedule
from fl_ef21.types import Compressor, Problem
from scenarios.schema import Scenario
from scenarios.schema_method import Method
from strategies import SERVERS
from strategies.prox import prox_of

FILLED = ("eta", "gamma", "alpha", "omega", "participation", "share", "shapes")  # in by the plan, not by a person


def server_of(half: type[Any]) -> type[Any]:
    """The server half of a client half."""
    named = facts_of(half).server
    return SERVERS[named] if isinstance(named, str) else named


def hyper_of(method: Method) -> dict[str, Schedule]:
    """A method's further hyperparameters, as schedules."""
    return {name: schedule(value) for name, value in method.hyper.items()}


def schedule(given: Any) -> Schedule:
    """A number, or a falling one."""
    if isinstance(given, int | float):
        return Schedule(float(given))
    named: Mapping[str, float] = given.model_dump()
    return Schedule(**named)


def worst(each: Sequence[float | None], choose: Callable[[Iterable[float]], float]) -> float | None:
    """Of what clients' compressors claim; None where one claims nothing."""
    some = [one for one in each if one is not None]
    return choose(some) if len(some) == len(each) else None


def check(scenario: Scenario, number: int, plan: Plan, problem: Problem) -> None:
    """Raises: InputError that names the key of the `number`-th method which does not suit it, and what would."""
    half, field = METHODS[plan.method], f"method[{number}]"
    _hyper(plan, (half, server_of(half)), field)
    facts, method = facts_of(half), scenario.method[number]
    for C in plan.compressors:
        _compressor(facts, C, problem.dim, method.compressor, f"{field}.compressor", plan.method)
    _keys(facts, method, field)
    _prox(method, problem, field)
    if facts.hears and plan.downlink is not None:
        told = "hears a second vector beside the model, which a compressed downlink does not carry; remove downlink"
        raise InputError(f"{field}.downlink", method.downlink, f"{plan.method} {told}")
    if facts.asks and scenario.attack is not None:
        told = "attacks replace one stochastic gradient, and it asks for more; choose a method such as 'ef21-sgdm'"
        raise InputError(f"{field}.name", plan.method, told)
    if not facts.local and local_steps(problem):
        raise InputError("train.local_steps", scenario.train.local_steps, f"{plan.method} knows but one; remove it")


def _hyper(plan: Plan, halves: Sequence[type[Any]], field: str) -> None:
    """The halves themselves know which values are right."""
    known = {f.name: f for half in halves for f in fields(half) if f.name not in FILLED}
    for name, value in plan.hyper.items():
        if name not in known:
            advice = nearest(name, list(known)) if known else f"{plan.method} has no further hyperparameters"
            raise InputError(f"{field}.hyper.{name}", value(1), f"is not known; {advice}" if known else advice)
    try:
        for half in halves:
            plan.half(half, 1, share=1.0, shapes=())
    except InputError as error:
        where = error.field if error.field in FILLED else f"hyper.{error.field}"
        raise InputError(f"{field}.{where}", error.value, error.advice) from error
    except TypeError as error:
        missing = sorted(set(known) - set(plan.hyper))
        raise InputError(f"{field}.hyper", {}, f"needs {', '.join(missing)}: {error}") from error
    first, second = (getattr(plan.half(halves[0], round), "adds", 1.0) for round in (1, 2))
    if first != second:
        told = "falls, and with it how much of a message is remembered, which both sides count on: give a number"
        falling = next(name for name, value in plan.hyper.items() if value(1) != value(2))
        raise InputError(f"{field}.hyper.{falling}", plan.hyper[falling](1), told)


def _keys(facts: Facts, method: Method, field: str) -> None:
    """What it is another method without, and what does not go with steps that every client makes itself."""
    if facts.key and getattr(method, facts.key) is None:
        advice = {"downlink": 'a compressor such as "topk:0.05"', "prox": 'r and its number such as "l1:0.001"'}
        raise InputError(f"{field}.{facts.key}", None, f"{method.name} needs one: {advice[facts.key]}")
    if not facts.steps:
        return
    told = f"its clients make the server's step themselves, which {method.name} knows by plain sgd alone"
    if method.optimizer != "sgd":
        raise InputError(f"{field}.optimizer", method.optimizer, f"{told}; remove it")
    if method.optimizer_args:
        raise InputError(f"{field}.optimizer_args", method.optimizer_args, f"{told}; remove them")
    if method.prox is not None:
        raise InputError(f"{field}.prox", method.prox, f"{told}; remove it, or take 'ef21-p'")


def _prox(method: Method, problem: Problem, field: str) -> None:
    try:
        prox = None if method.prox is None else prox_of(method.prox)
    except InputError as error:
        raise InputError(f"{field}.prox", error.value, error.advice) from error
    if prox is not None and not math.isfinite(prox.value(problem.x0())):
        raise InputError(f"{field}.prox", method.prox, "must have a finite r at the model that training starts from")


def _compressor(facts: Facts, C: Compressor, dim: int, name: str, field: str, method: str) -> None:
    absolute = getattr(C, "absolute", None)
    holds = {
        "any": True, "contractive": C.contractive, "unbiased": C.unbiased, "identity": C.alpha(dim) == 1.0,
        "absolute": absolute is not None and absolute(dim) is not None,
    }  # fmt: skip
    right = {
        "contractive": "a contractive compressor, such as 'topk', 'sign', or contractive = true",
        "unbiased": "an unbiased compressor, such as 'qsgd' with contractive = false, or 'randk' scaled and exact",
        "identity": "no compression; leave the compressor out",
        "absolute": "an absolute compressor, such as 'hard-threshold' with exact values",
    }
    if not holds[facts.needs]:
        raise InputError(field, name, f"{method} needs {right[facts.needs]}")
