"""What changed between the start of a run and now: its scenario, our code, the packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fl_ef21.errors import InputError
from fl_ef21.provenance import sources
from scenarios.loading import parse
from scenarios.others import others
from scenarios.run_file import RunFile
from scenarios.schema import Scenario

FREE = ("engine", "cuts", "durability", "data.path", "data.test_path")  # decide no figure of a run
EXACT = ("torch", "numpy", "numba", "python")  # another version may round otherwise
SHOWN = 8


def of_scenario(before: Scenario, now: Scenario) -> list[str]:
    """A line for each key that decides what a run measures: old -> new."""
    old, new = _flat(before.model_dump()), _flat(now.model_dump())
    return [
        f"{key}: {_told(old, key)} -> {_told(new, key)}"
        for key in dict.fromkeys([*old, *new])
        if not _free(key) and old.get(key) != new.get(key)
    ]


def of_code(before: Mapping[str, str], plugins: Iterable[Any] = ()) -> list[str]:
    """A line for each source file, ours and those of these classes of other packages, that is another one."""
    now = sources(plugins)
    return [
        f"{name}: {'new' if name not in before else 'gone' if name not in now else 'changed'}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]


def of_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each package whose version may show in the last digits."""
    return [f"{name} {before.get(name)} -> {now[name]}" for name in EXACT if before.get(name) != now[name]]


def refuse(run: RunFile, now: Scenario, force: bool) -> list[str]:
    """Warnings about what may change. Raises: InputError with the changes that a run cannot go on with."""
    if changed := of_scenario(parse(run.scenario), now):
        advice = f"changed since the run began:\n{_lines(changed)}\nput it back, or start a run in a new folder"
        raise InputError("scenario.toml", str(run.folder), advice)
    changed = of_code(run.sources, others(now))
    if changed and not force:
        advice = f"changed since the run began:\n{_lines(changed)}\ngo back to that code, or --force goes on with this"
        raise InputError("code", str(run.folder), advice)
    told = [f"going on with other code than the run began with:\n{_lines(changed)}"] if changed else []
    return told


def _lines(changed: list[str]) -> str:
    more = [f"  and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return "\n".join([f"  {line}" for line in changed[:SHOWN]] + more)


def _free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, one in value.items() for k, v in _flat(one, f"{at}.{key}" if at else key).items()}
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return {k: v for i, one in enumerate(value) for k, v in _flat(one, f"{at}[{i}]").items()}
    return {at: value}


def _told(flat: Mapping[str, Any], key: str) -> str:
    return repr(flat[key]) if flat.get(key) is not None else "nothing"
