"""Plain words for what pydantic finds wrong with a scenario: file, line, key, value, what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fl_ef21.errors import nearest
from scenarios.schema import Scenario

Place = tuple[str | int, ...]  # a path of keys and positions, such as ("method", 1, "gamma")
TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "a text in quotes",
         "list": "a list", "dict": "a table", "model": "a table"}  # fmt: skip
BOUNDS = {
    "greater_than_equal": "must be at least {ge:g}", "greater_than": "must be greater than {gt:g}",
    "less_than_equal": "must be at most {le:g}", "less_than": "must be less than {lt:g}",
    "finite_number": "must be a finite number", "too_short": "needs at least one entry",
    "string_too_short": "must not be empty", "int_parsing_size": "is too large",
}  # fmt: skip
NEEDED = {
    "name": "give it a text", "rounds": "how many rounds to train, such as rounds = 300",
    "method": "add at least one [[method]] table", "gamma": "the step size, such as gamma = 0.05",
    "value": "the number in round 1", "profile": "a name that `fl-ef21 list profiles` shows, or a TOML file of devices",
}  # fmt: skip


def lines(
    error: ValidationError, table: Mapping[str, Any], text: str, file: str, changed: Mapping[Place, str],
    whole: type[BaseModel] = Scenario,
) -> list[str]:  # fmt: skip
    """One line for each mistake in `table`, which is the file's `text` with keys `changed` by overrides.

    whole: what the file is to be.
    """
    found = [_line(place, told, text, file, changed, whole) for place, told in _by_place(error, table).items()]
    return list(dict.fromkeys(found))


def _by_place(error: ValidationError, table: Mapping[str, Any]) -> dict[Place, list[Any]]:
    """Complaints by the key they are about: of a union, pydantic tries every member and all complain."""
    found: dict[Place, list[Any]] = {}
    for problem in error.errors():
        found.setdefault(_place(problem["loc"], table, problem["type"] == "missing"), []).append(problem)
    return {p: told for p, told in found.items() if not any(o != p and o[: len(p)] == p for o in found if p)}


def _place(loc: Place, table: Any, missing: bool) -> Place:
    """The part of pydantic's path that is in the file; members of unions are in its path too."""
    place: Place = ()
    at = table
    for depth, part in enumerate(loc):
        inside = part in at if isinstance(at, dict) else isinstance(at, list) and isinstance(part, int)
        if inside:
            at, place = at[part], (*place, part)
        elif missing and depth == len(loc) - 1:
            place = (*place, part)
    return place


def _line(
    place: Place, told: Sequence[Any], text: str, file: str, changed: Mapping[Place, str], whole: type[BaseModel]
) -> str:
    first, key = told[0], _dotted(place)
    value = first["input"]
    blamed = [override for at, override in changed.items() if place[: len(at)] == at]
    if blamed and first["type"] != "missing":
        return f"--set {blamed[-1]}: {_advice(place, told, whole)}"
    number = _line_number(place, text)
    where = f"{file}, line {number}" if number else file
    if first["type"] == "missing":
        return f"{where}: {key} is missing; {NEEDED.get(str(place[-1]), 'it must be given')}"
    if isinstance(value, dict | list):  # too long to repeat
        return f"{where}: {key}: {_advice(place, told, whole)}" if key else f"{where}: {_advice(place, told, whole)}"
    return f"{where}: {key} = {value!r}: {_advice(place, told, whole)}"


def _advice(place: Place, told: Sequence[Any], whole: type[BaseModel]) -> str:
    """What would be right, as the end of a sentence."""
    first = told[0]
    if first["type"] == "extra_forbidden":
        return _unknown_key(place, whole)
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if place == ("method",) and first["type"] == "list_type":
        return "must be one or more tables, each headed [[method]] with two brackets"
    bound = [p for p in told if p["type"] in BOUNDS]
    if bound:
        return BOUNDS[bound[0]["type"]].format(**bound[0].get("ctx", {}))
    expected = " ".join(p["ctx"]["expected"] for p in told if p["type"] == "literal_error")
    names = re.findall(r"'([^']*)'", expected)
    types = [word for p in told for kind, word in TYPES.items() if p["type"].startswith(kind)]
    if names and not types:
        return f"is not known; {nearest(str(first['input']), names)}"
    return "must be " + " or ".join(dict.fromkeys(types + [repr(name) for name in names]))


ALIKE = 0.8  # of difflib: a letter or two apart


def _unknown_key(place: Place, whole: type[BaseModel]) -> str:
    word = str(place[-1]).replace("-", "_")
    sections = {name: found[0] for name, field in whole.model_fields.items() if (found := _models(field.annotation))}
    homes = [name for name, section in sections.items() if word in section.model_fields and name != place[0]]
    known = list(_section_at(place[:-1], whole).model_fields)
    near = nearest(word, known)
    if homes and not get_close_matches(word, known, cutoff=ALIKE):
        headers = " or ".join("[[method]]" if name == "method" else f"[{name}]" for name in homes)
        return f"there is no such key here; it belongs in {headers}"
    return f"there is no such {'key or section' if len(place) == 1 else 'key'}; {near}"


def _dotted(place: Place) -> str:
    out = ""
    for part in place:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def _section_at(place: Place, whole: type[BaseModel]) -> type[BaseModel]:
    """What lists the keys that may stand at a place."""
    for part in map(str, place):
        found = _models(whole.model_fields[part].annotation) if part in whole.model_fields else []
        whole = found[0] if found else whole
    return whole


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field's type allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _line_number(place: Place, text: str) -> int | None:
    """Where the key stands in the file, or what it stands in, as far as a look at its lines can tell."""
    at = _lines_of(text)
    for end in range(len(place), 0, -1):
        if place[:end] in at:
            return at[place[:end]]
    return None


def _lines_of(text: str) -> dict[Place, int]:
    found: dict[Place, int] = {}
    section: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([\w.\-]+)\s*\]", line):
            section = _section(tuple(header[1].split(".")), found, number)
            found.setdefault(section, number)
        elif key := re.match(r"""\s*(?:["']([^"']+)["']|([\w\-]+))\s*(\.|=)""", line):
            found.setdefault((*section, key[1] or key[2]), number)
    return found


def _section(names: tuple[str, ...], found: dict[Place, int], number: int) -> Place:
    """The place that a header opens: the methods are numbered, and tables inside belong to the last one."""
    if names[0] != "method":
        return names
    found.setdefault(("method",), number)
    seen = sum(place[0] == "method" and len(place) == 2 for place in found)
    return ("method", seen) if len(names) == 1 else ("method", seen - 1, *names[1:])
