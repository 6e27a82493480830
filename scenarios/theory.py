"""What theorems say of a scenario's methods: `gamma = "theory"`, `eta = "theory"`, and whether steps are allowed.

Numbers are put into the scenario when it is prepared, so a resolved scenario names none but numbers, and whoever
repeats it takes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from fl_ef21.errors import InputError
from fl_ef21.plan import Plan
from fl_ef21.problems.exact import core
from fl_ef21.schedule import Schedule
from fl_ef21.theory.constants import Constants, constants
from fl_ef21.theory.steps import THEOREMS, Facts, Theorem, rounded
from fl_ef21.types import Problem
from scenarios.plans import plan_of
from scenarios.schema import Scenario
from scenarios.schema_method import Decay, Method

WORD = "theory"
_KNOWN: WeakKeyDictionary[Any, Constants] = WeakKeyDictionary()


@dataclass(frozen=True)
class Allowed:
    """What a theorem allows one method of a scenario.

    Attributes:
      theorem: None where there is none for the method.
      gamma: the largest step size, with the eta in use; None where no theorem says one.
      eta: what the theorem takes; None where it takes none.
      why: what the theorem does not cover, as ends of sentences; empty where it covers all.
      inside: whether the step sizes in use are all allowed; None where nobody can say.
    """

    theorem: Theorem | None
    gamma: float | None
    eta: Schedule | None
    why: tuple[str, ...]
    inside: bool | None


def known(problem: Problem) -> Constants:
    """Of a problem, computed once as long as it is there. Raises: InputError where samples are not all here."""
    inner = core(problem)
    if inner not in _KNOWN:
        _KNOWN[inner] = constants(inner)
    return _KNOWN[inner]


def asked_for(scenario: Scenario) -> bool:
    """Whether some number of a method is left to theory."""
    return any(WORD in (method.gamma, method.eta) for method in scenario.method)


def refuse(scenario: Scenario, partial: bool) -> None:
    """Raises: InputError where the panel of theory is wanted and samples lie elsewhere."""
    if scenario.evaluate.theory and partial:
        advice = "needs every client's samples here, as a simulation has them; leave it out"
        raise InputError("evaluate.theory", True, advice)


def resolved(scenario: Scenario, problem: Problem) -> Scenario:
    """The scenario with numbers in the place of "theory". Raises: InputError where no theorem covers a method."""
    if not asked_for(scenario):
        return scenario
    methods = [_resolved(scenario, i, problem) for i in range(len(scenario.method))]
    return scenario.model_copy(update={"method": methods})


def _resolved(scenario: Scenario, number: int, problem: Problem) -> Method:
    method = scenario.method[number]
    if WORD not in (method.gamma, method.eta):
        return method
    field = f"method[{number}].{'gamma' if method.gamma == WORD else 'eta'}"
    theorem = _theorem(method, field)
    c, facts = known(problem), _facts(scenario, number, problem)
    if missing := [why for why in (theorem.lacks(c, facts), *outside(scenario, number)) if why]:
        raise InputError(field, WORD, f"the theorem of {method.name} {missing[0]}")
    if method.eta == WORD:
        method = method.model_copy(update={"eta": _eta(method, theorem, c, facts, number)})
    if method.gamma != WORD:
        return method
    if theorem.gamma is None:
        raise InputError(field, WORD, f"there is none: {theorem.says}; give a number")
    if theorem.eta is not None and not isinstance(method.eta, float | int):
        raise InputError(field, WORD, f"the theorem of {method.name} has a constant eta; give a number or 'theory'")
    least = float(method.eta) if isinstance(method.eta, float | int) else 1.0
    return method.model_copy(update={"gamma": rounded(theorem.gamma(c, facts, least))})


def _theorem(method: Method, field: str) -> Theorem:
    if method.name not in THEOREMS:
        having = ", ".join(THEOREMS)
        raise InputError(field, WORD, f"no theorem here says one for {method.name}; those of {having} do")
    return THEOREMS[method.name]


def _eta(method: Method, theorem: Theorem, c: Constants, facts: Facts, number: int) -> float | Decay:
    if theorem.eta is None:
        raise InputError(f"method[{number}].eta", WORD, f"{method.name} has no eta; leave it out")
    found = theorem.eta(c, facts)
    if found.power == 0:
        return rounded(found.value)
    return Decay(value=found.value, power=found.power, tau=found.tau)


def allowed(scenario: Scenario, number: int, problem: Problem) -> Allowed:
    """For a method whose gamma and eta are numbers. Raises: InputError where some client's samples are not here."""
    method = scenario.method[number]
    theorem = THEOREMS.get(method.name)
    if theorem is None:
        return Allowed(None, None, None, (), None)
    plan = _plan(scenario, number, problem)
    c, facts = known(problem), _facts(scenario, number, problem)
    lacks = theorem.lacks(c, facts)
    why = tuple(told for told in (lacks, *outside(scenario, number)) if told)
    if lacks:
        return Allowed(theorem, None, None, why, None)
    eta = None if theorem.eta is None else theorem.eta(c, facts)
    least = 1.0 if theorem.eta is None else plan.eta(scenario.rounds)
    gamma = None if theorem.gamma is None else theorem.gamma(c, facts, least)
    inside = None if gamma is None or why else plan.gamma(1) <= gamma * (1 + 1e-9)
    return Allowed(theorem, gamma, eta, why, inside)


def outside(scenario: Scenario, number: int) -> list[str]:
    """What of the scenario the theorems do not cover, as ends of sentences."""
    method, train = scenario.method[number], scenario.train
    steps = train.local_steps.values() if isinstance(train.local_steps, dict) else train.local_steps
    local = max(steps if not isinstance(steps, int) else [steps]) > 1
    told = {
        "has one gradient a round; take train.local_steps = 1": local,
        "has synchronous rounds; take train.mode = 'synchronous'": train.mode == "buffered",
        "sends the model itself; leave downlink out": method.downlink is not None,
        "steps by plain gradient descent; leave optimizer and its options out":
            method.optimizer != "sgd" or bool(method.optimizer_args),
        "takes the sum of the clients' g_i; leave aggregate and mixing out":
            method.aggregate != "mean" or method.mixing is not None,
        "minimises f alone; leave prox out": method.prox is not None,
        "has honest clients; leave [attack] out": scenario.attack is not None,
    }  # fmt: skip
    return [words for words, true in told.items() if true]


def _plan(scenario: Scenario, number: int, problem: Problem) -> Plan:
    """As `plan_of`, with placeholders where theory is still to say a number."""
    method = scenario.method[number]
    holes = {key: 1.0 for key in ("gamma", "eta") if getattr(method, key) == WORD}
    return plan_of(scenario, number, method.model_copy(update=holes), problem)


def _facts(scenario: Scenario, number: int, problem: Problem) -> Facts:
    plan = _plan(scenario, number, problem)
    hyper = {name: schedule(1) for name, schedule in plan.hyper.items()}
    return Facts(plan.alpha, plan.omega, scenario.rounds, scenario.train.participation, hyper)
