"""Scenario files <-> scenarios, with errors a person can act on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fl_ef21.errors import nearest
from scenarios.schema import Decay, Method, Scenario

GALLERY = Path(__file__).resolve().parent
Place = tuple[str | int, ...]


class ScenarioError(ValueError):
    """One line for every problem of a scenario: file, line, key, value, what would be right."""


def load(path: Path | str, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario from a file or the gallery's name of one, with `a.b=c` overrides.

    Paths of data inside it are taken from the current folder, else from the scenario file's.
    Raises: ScenarioError.
    """
    file = _find(Path(path))
    text = file.read_text()
    return _build(text, str(file), file.parent, overrides)


def parse(text: str, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario from TOML text. Raises: ScenarioError."""
    return _build(text, "scenario", Path.cwd(), overrides)


def gallery() -> dict[str, Path]:
    """The scenarios that come with the project, by name."""
    return {path.stem: path for path in sorted(GALLERY.glob("*.toml"))}


def to_toml(scenario: Scenario) -> str:
    """The resolved scenario; loads back equal."""
    import tomlkit

    return tomlkit.dumps(scenario.model_dump(exclude_none=True))


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    known = gallery()
    if str(path) in known:
        return known[str(path)]
    if path.is_dir() and (path / "scenario.toml").is_file():
        return path / "scenario.toml"
    near = nearest(path.stem, list(known))
    raise ScenarioError(f"{path}: there is no such file, and no scenario of that name; {near}")


def _build(text: str, file: str, folder: Path, overrides: Sequence[str]) -> Scenario:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{file}: this is not TOML: {error}") from error
    for override in overrides:
        _override(table, override)
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        lines = [_line(problem, table, text, file) for problem in _problems(error)]
        raise ScenarioError("\n".join(dict.fromkeys(lines))) from error
    return _with_paths(scenario, folder)


def _with_paths(scenario: Scenario, folder: Path) -> Scenario:
    found = {}
    for key in ("path", "test_path"):
        given = getattr(scenario.data, key)
        if given is not None and not Path(given).exists() and (folder / given).exists():
            given = folder / given
        if given is not None and Path(given).exists():
            found[key] = str(Path(given).resolve())
    return scenario.model_copy(update={"data": scenario.data.model_copy(update=found)}) if found else scenario


def _override(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ScenarioError(f"--set {override}: write it as section.key=value, such as train.batch_size=8")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    words = key.strip().split(".")
    for target, last in _targets(table, words, override):
        target[last] = value


def _targets(table: dict[str, Any], words: list[str], override: str) -> Iterator[tuple[dict[str, Any], str]]:
    *path, last = words
    at: list[Any] = [table]
    for depth, word in enumerate(path):
        step: list[Any] = []
        for here in at:
            if isinstance(here, dict):
                here = here.setdefault(word, {})
                numbered = depth + 1 < len(path) and path[depth + 1].isdigit()
                step += here if isinstance(here, list) and not numbered else [here]
            elif isinstance(here, list) and word.isdigit() and int(word) < len(here):
                step.append(here[int(word)])
            else:
                raise ScenarioError(f"--set {override}: there is no {'.'.join(words[: depth + 1])} in the scenario")
        at = step
    for target in at:
        if not isinstance(target, dict):
            raise ScenarioError(f"--set {override}: {'.'.join(path)} holds no keys")
        yield target, last


def _problems(error: ValidationError) -> list[dict[str, Any]]:
    """Pydantic tries every member of a union; keep the complaint of the one that was meant."""
    found: dict[Place, dict[str, Any]] = {}
    for problem in error.errors():
        place = tuple(part for part in problem["loc"] if _is_key(part))
        kept = found.get(place)
        if kept is None or (kept["type"].endswith("_type") and not problem["type"].endswith("_type")):
            found[place] = {**problem, "loc": place}
    meant = set(found)
    return [p for place, p in found.items() if not any(o != place and o[: len(place)] == place for o in meant)]


def _is_key(part: str | int) -> bool:
    # members of a union appear in the path under names such as "Decay" or "constrained-int"
    return isinstance(part, int) or re.fullmatch(r"[a-z][a-z0-9_]*|L", part) is not None and part not in (
        "int", "float", "str", "bool", "list",
    )  # fmt: skip


def _line(problem: dict[str, Any], table: dict[str, Any], text: str, file: str) -> str:
    place: Place = problem["loc"]
    key, value = _dotted(place), problem["input"]
    where = file
    if number := _line_number(place, text):
        where += f", line {number}"
    if problem["type"] == "missing":
        return f"{where}: {key} is missing; {_wanted(place)}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: {key} = {value!r}: there is no such key; {nearest(str(place[-1]), _keys(place[:-1]))}"
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{where}: {message}" if isinstance(value, dict) else f"{where}: {key} = {value!r}: {message}"
    return f"{where}: {key} = {value!r}: {_plain(problem)}"


def _plain(problem: dict[str, Any]) -> str:
    kind, limits = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", limits["expected"])
        return f"is not known; {nearest(str(problem['input']), known)}"
    bounds = {
        "greater_than_equal": "must be at least {ge}", "greater_than": "must be greater than {gt}",
        "less_than_equal": "must be at most {le}", "less_than": "must be less than {lt}",
        "finite_number": "must be a finite number", "too_short": "needs at least one entry",
        "string_too_short": "must not be empty",
    }  # fmt: skip
    if kind in bounds:
        return bounds[kind].format(**limits)
    types = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text in quotes",
             "list": "a list", "dict": "a table", "model": "a table"}  # fmt: skip
    for name, word in types.items():
        if kind.startswith(name):
            return f"must be {word}"
    return str(problem["msg"])


def _dotted(place: Place) -> str:
    out = ""
    for part in place:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out or "the scenario"


def _model_at(place: Place) -> type[BaseModel]:
    at: type[BaseModel] = Scenario
    for part in place:
        if isinstance(part, int):
            continue
        if at is Method and part in ("eta", "gamma"):
            return Decay
        annotation = at.model_fields[part].annotation
        at = Method if part == "method" else annotation if isinstance(annotation, type) else at
    return at


def _keys(place: Place) -> list[str]:
    return list(_model_at(place).model_fields)


def _wanted(place: Place) -> str:
    advice = {
        "name": "give it a text", "rounds": "how many rounds to train, such as rounds = 300",
        "method": "add at least one [[method]] table", "gamma": "the step size, such as gamma = 0.05",
        "value": "the number in round 1",
    }  # fmt: skip
    return advice.get(str(place[-1]), "it must be given")


def _line_number(place: Place, text: str) -> int | None:
    """Where the key stands in the file, as far as a look at its lines can tell."""
    names = [part for part in place if isinstance(part, str)]
    section, table, seen = ".".join(names[:-1]), "", -1
    wanted = next((part for part in place if isinstance(part, int)), None)
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if header := re.match(r"\[+\s*([^\]]+?)\s*\]+", bare):
            table = header[1]
            seen += table == "method"
            if names and [*table.split(".")] == names:
                return number
        elif names and re.match(rf"[\"']?{re.escape(names[-1])}[\"']?\s*=", bare) and table == section:
            if wanted is None or seen == wanted:
                return number
    return None
