"""The methods of a scenario as plans, which both sides follow; nothing is loaded or started."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clients import METHODS
from fl_ef21.compressors import make, short
from fl_ef21.compressors.levels import make_levels
from fl_ef21.errors import InputError
from fl_ef21.facts import facts_of
from fl_ef21.plan import Plan
from fl_ef21.shadow import Shadow
from fl_ef21.theory.smoothness import smoothness
from fl_ef21.types import Compressor, Problem
from fl_ef21.wire import layers_of
from scenarios.by_class import each
from scenarios.schema import Scenario
from scenarios.schema_method import Method, default_values
from scenarios.schema_rounds import at_work
from scenarios.suiting import check, hyper_of, schedule, server_of, worst
from strategies.descent import Descent
from strategies.ef21 import EF21
from strategies.flower_buffer import Buffer
from strategies.robust_named import Aggregate, aggregate_of

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}
COMPRESSOR_KEYS = (
    "k", "fraction", "block", "threshold", "step", "levels", "bucket", "rank", "iterations", "scaled", "contractive",
    "values", "scale_block",
)  # fmt: skip


def plan_of(scenario: Scenario, number: int, method: Method, problem: Problem) -> Plan:
    """The `number`-th method. Raises: InputError that names its key where it cannot be."""
    options = {key: getattr(method, key) for key in COMPRESSOR_KEYS if getattr(method, key) is not None}
    options = {key: each(scenario, f"method[{number}].{key}", value) for key, value in options.items()}
    _not_twice(number, method)
    try:
        levels = make_levels(method.compressor, dim=problem.dim, shapes=problem.shapes, **options | method.options)
        Descent(torch.zeros(problem.dim), problem.shapes, method.optimizer, method.optimizer_args, 1.0)
    except InputError as error:
        where = f"options.{error.field}" if error.field in method.options else error.field
        raise InputError(f"method[{number}].{where}", error.value, error.advice) from error
    aggregate(scenario, number)
    plan = Plan(
        label=method.label, method=method.name, eta=schedule(method.eta), gamma=schedule(method.gamma),
        compressor=levels[0], start=scenario.train.start, seed=scenario.seed, dtype=DTYPES[scenario.train.dtype],
        levels=levels if len(levels) > 1 else (), downlink=_downlink(scenario, number, problem),
        shadows=tuple(_shadow(scenario, i, word, problem) for i, word in enumerate(scenario.shadow)),
        layers=layers_of(problem.shapes) if method.layer_aware else (), hyper=hyper_of(method),
        alpha=worst([C.alpha(problem.dim) for C in levels], min),
        omega=worst([C.omega(problem.dim) for C in levels], max),
        participation=scenario.train.participation, weights=_weights(METHODS[method.name], problem),
    )  # fmt: skip
    check(scenario, number, plan, problem)
    return plan


def _not_twice(number: int, method: Method) -> None:
    for key in set(method.options) & {*COMPRESSOR_KEYS, "dim", "shapes"}:
        advice = "comes from the model" if key in ("dim", "shapes") else "is a key of the method itself"
        raise InputError(f"method[{number}].options.{key}", method.options[key], advice)


def _weights(half: type[Any], problem: Problem) -> Tensor | None:
    """(n,) float64, the method's where they are not the problem's."""
    if facts_of(half).weighs == "problem":
        return None
    each = smoothness(problem).each
    return each / each.sum()


def buffer(scenario: Scenario) -> Buffer | None:
    """Of semi-asynchronous rounds; None where they are synchronous."""
    train = scenario.train
    if train.mode == "synchronous" or train.buffer is None:
        return None
    return Buffer(train.buffer, at_work(train, scenario.partition.clients))


def aggregate(scenario: Scenario, number: int) -> Aggregate | None:
    """What makes g of the clients' g_i; None for their sum. Raises: InputError."""
    method, field = scenario.method[number], f"method[{number}]"
    if method.aggregate == "mean" and method.mixing is None:
        return None
    try:
        found = aggregate_of(method.aggregate, method.mixing, scenario.seed)
    except InputError as error:
        raise InputError(f"{field}.{error.field}", error.value, error.advice) from error
    if not sums(METHODS[method.name]):
        knowing = ", ".join(name for name, half in METHODS.items() if sums(half))
        advice = f"needs a method whose server knows every client's g_i: {knowing}; the increments of others are sparse"
        raise InputError(f"{field}.aggregate", method.aggregate, advice)
    return found


def sums(half: type[Any]) -> bool:
    """Whether the server steps by the sum of the clients' g_i, in whose place another aggregate of them may be."""
    return server_of(half) is EF21


def _named(scenario: Scenario, word: str, field: str, problem: Problem) -> Compressor:
    """The compressor of a word, its values as a method's would be. Raises: InputError about `field`."""
    try:
        name, options = short.parse(word)
        options.setdefault("values", default_values(name, scenario.train.dtype))
        return make(name, dim=problem.dim, shapes=problem.shapes, **options)
    except InputError as error:
        where = field if error.field == "compressor" else f"{field}.{error.field}"
        raise InputError(where, error.value, error.advice) from error


def _downlink(scenario: Scenario, number: int, problem: Problem) -> Compressor | None:
    """The compressor of the model's way down. Raises: InputError."""
    word, field = scenario.method[number].downlink, f"method[{number}].downlink"
    if word is None:
        return None
    C = _named(scenario, word, field, problem)
    if not C.contractive:
        advice = 'must contract, so that what is left out of the model gets smaller: such as "topk:0.05" or "sign"'
        raise InputError(field, word, advice)
    return C


def _shadow(scenario: Scenario, i: int, word: str, problem: Problem) -> Shadow:
    return Shadow(word, _named(scenario, word, f"shadow[{i}]", problem))
