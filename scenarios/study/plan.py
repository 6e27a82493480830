"""From a study to settings, methods and trials. Nothing has run yet."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fl_ef21.errors import InputError, nearest
from scenarios.folder import folder_name
from scenarios.loading import ScenarioError
from scenarios.schema import Engine, Scenario
from scenarios.schema_method import Decay, Method
from scenarios.study.reading import SHOWN, Source, toml

METHODS = "method"  # the key of the grid that says which methods of the scenario take part
Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One run: one method in one setting, with one seed. Two that would measure the same are equal in `id`.

    Attributes:
      gamma: where it begins, for tables.
    """

    id: str
    scenario: Scenario

    @property
    def seed(self) -> int:
        return self.scenario.seed

    @property
    def gamma(self) -> float:
        given = self.scenario.method[0].gamma
        return given.value if isinstance(given, Decay) else float(given)

    @cached_property
    def problem(self) -> str:
        """The same for trials that share samples, partition and model, so that these need be loaded once."""
        return digest(self.scenario.model_copy(update={"name": "", "method": [], "rounds": 1}))


@dataclass(frozen=True)
class Arm:
    """A method in one setting: what is tuned, repeated over seeds, and makes a row of the table.

    Attributes:
      setting: the changes of the problem, all keys of the grid but those of methods.
      label: of the method in the base.
      options: the changes of the method that it has a use for.
      scenario: with this method alone, and the base's seed.
    """

    setting: Changes
    label: str
    options: Changes
    scenario: Scenario

    @property
    def name(self) -> str:
        """Distinct within a setting."""
        return ", ".join(
            [self.label, *(f"{key.removeprefix('method.')} {_short(v)}" for key, v in self.options.items())]
        )

    @property
    def where(self) -> str:
        return ", ".join(f"{key} = {_short(value)}" for key, value in self.setting.items())


@dataclass(frozen=True)
class Plan:
    """Attributes:
    arms: without those that would measure the same as another.
    problem_keys, method_keys: of the grid, in its order.
    settled: keys of [model] and [devices] that were measured on this machine, by problem.
    """

    source: Source
    arms: tuple[Arm, ...]
    problem_keys: tuple[str, ...]
    method_keys: tuple[str, ...]
    settled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def trials(self, arm: Arm, changes: Changes | None = None) -> list[Trial]:
        """One for each seed; `changes` are a candidate's. Raises: ScenarioError where it cannot be."""
        scenario = self.candidate(arm, changes or {})
        return [self._trial(arm, scenario, seed) for seed in self.source.study.seeds]

    def candidate(self, arm: Arm, changes: Changes) -> Scenario:
        """An arm's scenario with the step size or whatever else a candidate differs in."""
        if not changes:
            return arm.scenario
        if set(changes) == {"method.gamma"}:
            method = arm.scenario.method[0]
            gamma = changes["method.gamma"]
            gamma = method.gamma.model_copy(update={"value": gamma}) if isinstance(method.gamma, Decay) else gamma
            return arm.scenario.model_copy(update={"method": [method.model_copy(update={"gamma": gamma})]})
        whole = self.source.scenario({**_given(self.source, arm), **changes})
        return _limited(self.source, alone(whole, _position(self.source, arm.label), arm.label))

    def _trial(self, arm: Arm, scenario: Scenario, seed: int) -> Trial:
        name = ", ".join([self.source.study.name, *([arm.where] if arm.where else []), f"seed {seed}"])
        engine = Engine(actors=0, gpus_per_actor=self.source.study.machine.gpus_per_trial)
        changed = {"seed": seed, "name": name, "engine": engine} | self._settled(scenario)
        scenario = scenario.model_copy(update=changed)
        return Trial(f"{folder_name(arm.label)[:32]}-{digest(scenario)}", scenario)

    def _settled(self, scenario: Scenario) -> dict[str, Any]:
        known = self.settled.get(kind(scenario), {})
        return {name: getattr(scenario, name).model_copy(update=dict(keys)) for name, keys in known.items()}


def kind(scenario: Scenario) -> str:
    """What decides how a scenario is best computed: of all seeds and methods the same."""
    return _hashed(scenario.model_dump(include={"data", "partition", "model", "train", "devices"}))


def digest(scenario: Scenario) -> str:
    """16 letters that tell scenarios apart by what they measure: not by their name, nor by how fast."""
    told = scenario.model_dump(exclude={"name", "engine", "cuts", "durability"}, exclude_defaults=True)
    for method in told["method"]:
        method.pop("label", None)
    return _hashed(told)


def _hashed(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def plan(source: Source) -> Plan:
    """Every combination, resolved. Raises: ScenarioError that lists what cannot be; InputError."""
    study = source.study
    chosen = _chosen(source)
    _known_keys(source)
    problem_keys = tuple(key for key in study.grid if key.split(".")[0] != METHODS)
    method_keys = tuple(key for key in study.grid if key.startswith(f"{METHODS}."))
    arms, wrong = dict[tuple[str, str], Arm](), list[str]()
    for values in itertools.product(*(study.grid[key] for key in (*problem_keys, *method_keys))):
        changes = dict(zip((*problem_keys, *method_keys), values, strict=True))
        try:
            found = _arms(source, changes, problem_keys, chosen)
        except ScenarioError as error:
            wrong += str(error).splitlines()
            continue
        for arm in found:
            arms.setdefault((json.dumps(arm.setting, sort_keys=True), digest(arm.scenario)), arm)
    if not study.gammas and (study.search is None or "method.gamma" not in study.search.space):
        told = 'method.gamma = "theory": a study names its step sizes; `fl-ef21 theory` says the number'
        wrong += [f"{arm.label}: {told}" for arm in arms.values() if arm.scenario.method[0].gamma == "theory"]
    refuse(wrong)
    made = Plan(source, tuple(arms.values()), problem_keys, method_keys)
    labels = list(dict.fromkeys(arm.label for arm in made.arms))
    if study.baseline is not None and study.baseline not in labels:
        raise InputError("baseline", study.baseline, f"is no method of the study; {nearest(study.baseline, labels)}")
    return made


def alone(scenario: Scenario, number: int, label: str) -> Scenario:
    """With one of its methods."""
    return scenario.model_copy(update={"method": [scenario.method[number].model_copy(update={"label": label})]})


def refuse(wrong: Sequence[str]) -> None:
    """Raises: ScenarioError with every distinct line, where there is one."""
    lines = list(dict.fromkeys(wrong))
    if lines:
        more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        raise ScenarioError("\n".join(lines[:SHOWN] + more))


def _chosen(source: Source) -> dict[int, str]:
    """Positions and labels of the methods that take part. Raises: InputError."""
    labels = [method.label for method in source.scenario().method]
    wanted = source.study.grid.get(METHODS, labels)
    for label in wanted:
        if label not in labels:
            advice = f"is no method of the scenario; {nearest(str(label), labels)}"
            raise InputError(f"{source.file}{source.line(METHODS)}: grid.method", label, advice)
    return {labels.index(label): label for label in wanted}


def _position(source: Source, label: str) -> int:
    return next(i for i, known in _chosen(source).items() if known == label)


def _known_keys(source: Source) -> None:
    """Raises: ScenarioError where the grid varies what a study sets itself."""
    taken = {"seed": "list them in seeds", "name": "it is the study's", "method.label": "methods keep theirs",
             "rounds": "put it under [budget]"}  # fmt: skip
    if source.study.gammas:
        taken["method.gamma"] = "gamma is tuned already"
    space = source.study.search.space if source.study.search else {}
    wrong = [key for key in (*source.study.grid, *space) if key in taken or key.split(".")[0] in ("engine", "cuts")]
    told = [f'{source.file}{source.line(k)}: "{k}" cannot be varied here; '
            f"{taken.get(k, 'it decides no figure; see [machine]')}" for k in wrong]  # fmt: skip
    numbered = [key for key in (*source.study.grid, *space) if re.match(r"method(\[|\.)\d", key)]
    told += [f'{source.file}{source.line(k)}: "{k}" is of one method; give it a label and a table of its own, or take '
             f'"method.{k.split(".")[-1]}" for all' for k in numbered]  # fmt: skip
    both = [key for key in space if key in source.study.grid]
    refuse(told + [f'{source.file}{source.line(k)}: "{k}" is in the grid and in search.space' for k in both])


def _arms(source: Source, changes: Changes, problem_keys: Sequence[str], chosen: Mapping[int, str]) -> list[Arm]:
    whole = source.scenario(changes)
    setting = {key: changes[key] for key in problem_keys}
    options = {key: value for key, value in changes.items() if key not in setting}
    return [
        Arm(setting, label, {k: v for k, v in options.items() if takes(whole.method[i], k, v)},
            _limited(source, alone(whole, i, label)))
        for i, label in chosen.items()
    ]  # fmt: skip


def takes(method: Method, key: str, value: Any) -> bool:
    """Whether a change of a key of methods reached this one."""
    at: Any = method
    for word in key.split(".")[1:]:
        at = at.get(word) if isinstance(at, dict) else getattr(at, word, None)
    return bool(at == value) if isinstance(at, int | float | str | list | dict) else at is not None


def _limited(source: Source, scenario: Scenario) -> Scenario:
    """Within the study's budget."""
    budget = source.study.budget
    stop = {key: value for key, value in budget if key != "rounds" and value is not None}
    changed: dict[str, Any] = {"stop": scenario.stop.model_copy(update=stop)} if stop else {}
    return scenario.model_copy(update=changed | ({"rounds": budget.rounds} if budget.rounds is not None else {}))


def _given(source: Source, arm: Arm) -> dict[str, Any]:
    return {**arm.setting, **arm.options}


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else toml(value)
