"""Scenario files <-> scenarios, with errors a person can act on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fl_ef21.devices.words import shipped
from fl_ef21.errors import nearest
from scenarios import mistakes
from scenarios.mistakes import Place
from scenarios.schema import Scenario
from scenarios.schema_method import Method
from scenarios.schema_words import COMPRESSORS, METHODS, ROUNDING, UNCOMPRESSED

GALLERY = Path(__file__).resolve().parent
OPTIONS = {option for options in COMPRESSORS.values() for option in options}


class ScenarioError(ValueError):
    """One line for every problem of a scenario: file, line, key, value, what would be right."""


def load(path: Path | str, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario from a file or the gallery's name of one, with `a.b=c` overrides.

    A path is taken from the current folder, else from the project's: `scenarios/edge.toml` is in every bundle of it.
    Paths of data inside it are taken from the current folder, else from the scenario file's.
    Raises: ScenarioError.
    """
    file = found(Path(path))
    return build(text_of(file), str(file), file.parent, overrides)


def text_of(file: Path) -> str:
    """A file's text. Raises: ScenarioError."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{file}: byte {error.start} is not UTF-8 text") from error
    except OSError as error:
        raise ScenarioError(f"{file}: cannot be read: {error.strerror}") from error


def table_of(text: str, file: str) -> dict[str, Any]:
    """Raises: ScenarioError where `text` is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{file}: this is not TOML: {error}") from error


def change(table: dict[str, Any], overrides: Sequence[str]) -> dict[Place, str]:
    """Change keys of a scenario's table; returns what was changed. Raises: ScenarioError."""
    changed: dict[Place, str] = {}
    for override in sorted(overrides, key=_turn):
        changed |= _override(table, override)
    return changed


def parse(text: str, overrides: Sequence[str] = ()) -> Scenario:
    """A scenario from TOML text. Raises: ScenarioError."""
    return build(text, "scenario", Path.cwd(), overrides)


def resolve(word: str) -> Scenario:
    """What a run-config's `scenario` says: a name or a path as for `load`, or the TOML text itself, which has lines.

    Raises: ScenarioError.
    """
    return parse(word) if "\n" in word else load(word)


def gallery() -> dict[str, Path]:
    """The scenarios that come with the project, by name."""
    return {path.stem: path for path in sorted(GALLERY.glob("*.toml"))}


def to_toml(scenario: Scenario) -> str:
    """The resolved scenario; loads back equal. engine.actors is told only where it was given: it decides
    nothing but speed, and differs from machine to machine."""
    import tomlkit

    table = scenario.model_dump(exclude_none=True)
    if "actors" not in scenario.engine.model_fields_set:
        del table["engine"]["actors"]
    for method in table["method"]:
        for key in ("optimizer_args", "hyper", "options"):
            if not method[key]:
                del method[key]
    return tomlkit.dumps({key: value for key, value in table.items() if value != {}})


def found(path: Path) -> Path:
    """The file of a path, a run folder, or a name of the gallery. Raises: ScenarioError."""
    if path.is_file():
        return path
    known = gallery()
    if str(path) in known:
        return known[str(path)]
    if path.is_dir() and (path / "scenario.toml").is_file():
        return path / "scenario.toml"
    if not path.is_absolute() and path.suffix == ".toml" and (GALLERY.parent / path).is_file():
        return GALLERY.parent / path
    near = nearest(path.stem, list(known))
    raise ScenarioError(f"{path}: there is no such file, and no scenario of that name; {near}")


def build(text: str, file: str, folder: Path, overrides: Sequence[str]) -> Scenario:
    """The scenario of a file's text. `folder`: where files are that it names. Raises: ScenarioError."""
    table = table_of(text, file)
    changed = change(table, overrides)
    try:
        scenario = Scenario.model_validate(table)
    except ValidationError as error:
        raise ScenarioError("\n".join(mistakes.lines(error, table, text, file, changed))) from error
    return _with_paths(scenario, folder)


def _with_paths(scenario: Scenario, folder: Path) -> Scenario:
    """Files that are named relative to the scenario's folder, or to the current one, by their whole paths."""
    changed = {}
    for section, keys in (("data", ("path", "test_path")), ("devices", ("profile",))):
        table = getattr(scenario, section)
        found = {key: path for key in keys if table and (path := _whole(getattr(table, key), folder))}
        if section == "devices" and table:
            found |= _traced(table.availability, folder)
            if table.profile in shipped():
                found.pop("profile", None)  # a name, whatever lies here
        if found:
            changed[section] = table.model_copy(update=found)
    return scenario.model_copy(update=changed) if changed else scenario


def _traced(availability: str | None, folder: Path) -> dict[str, str]:
    word, _, file = (availability or "").partition(":")
    path = _whole(file, folder) if word == "trace" else None
    return {} if path is None else {"availability": f"trace:{path}"}


def _whole(given: str | None, folder: Path) -> str | None:
    """None where there is no such file."""
    there = [path for path in (Path(given), folder / given) if path.exists()] if given is not None else []
    return str(there[0].resolve()) if there else None


def _override(table: dict[str, Any], override: str) -> dict[Place, str]:
    """Change `table`; returns what was changed. `method.key` is every method that has a use for the key."""
    key, equals, text = override.partition("=")
    words = re.sub(r"\[(\d+)\]", r".\1", key).strip().split(".")
    if not equals or not all(words):
        raise ScenarioError(f"--set {override}: write it as section.key=value, such as train.batch_size=8")
    targets = _targets(table, words, override)
    if words[0] == "method" and len(words) == 2:
        targets = [t for t in targets if _takes(t[1], words[1])] or targets
    if words[0] == "method" and words[-2:-1] == ["hyper"]:
        targets = [t for t in targets if _knows(table, t[0], words[-1])] or targets
    value, changed = _value(text), {}
    for place, target in targets:
        for key in _in_the_way(words[-1], value, target):
            target.pop(key, None)
        target[words[-1]] = value
        changed[(*place, words[-1])] = override
    return changed


def _value(text: str) -> Any:
    """A TOML value, else the text itself."""
    try:
        table = tomllib.loads(f"v = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return table["v"] if len(table) == 1 else text.strip()


def _turn(override: str) -> int:
    """What takes options away goes before what may give them."""
    key = override.partition("=")[0].strip()
    return 0 if key.endswith(".compressor") else 1 if key.endswith(".values") else 2


def _in_the_way(key: str, value: Any, before: dict[str, Any]) -> set[str]:
    """Keys that a new one leaves without a meaning: an override has no way to say that they are gone."""
    if key == "compressor" and value in COMPRESSORS:
        other = ROUNDING if value != before.get(key) else ()  # of another compressor, what is usual for it
        return OPTIONS - set(COMPRESSORS[value]) | set(other)
    if key == "values":
        return {"levels", "scale_block"} if value != before.get(key) else set()
    return {"fraction"} if key == "k" else {"k"} if key == "fraction" else set()


def _takes(method: dict[str, Any], key: str) -> bool:
    """Whether a method's table may say `key`; what the schema does not know is left to it."""
    name = method.get("compressor", Method.model_fields["compressor"].default)
    if key in ("compressor", *ROUNDING) and method.get("name") in UNCOMPRESSED:
        return False
    return key not in OPTIONS or key in COMPRESSORS.get(name, (key,))


def _knows(table: dict[str, Any], place: Place, hyper: str) -> bool:
    """Whether the method whose `hyper` lies there has this one."""
    method: Any = table
    for step in place[:-1]:
        method = method[step]
    return hyper in METHODS.get(method.get("name"), (hyper,))


def _targets(table: dict[str, Any], words: list[str], override: str) -> list[tuple[Place, dict[str, Any]]]:
    """The tables that hold the last of `words`, with their places. Missing ones on the way are made."""
    at: list[tuple[Place, Any]] = [((), table)]
    for depth, word in enumerate(words[:-1]):
        step: list[tuple[Place, Any]] = []
        for place, here in at:
            if isinstance(here, dict):
                step.append(((*place, word), here.setdefault(word, {})))
            elif isinstance(here, list) and word.isdigit() and int(word) < len(here):
                step.append(((*place, int(word)), here[int(word)]))
            else:
                there = ".".join(words[: depth + 1])
                raise ScenarioError(f"--set {override}: there is no {there} in the scenario")
        at = step if words[depth + 1].isdigit() else [one for found in step for one in _each(*found)]
    if any(not isinstance(target, dict) for _, target in at):
        raise ScenarioError(f"--set {override}: {'.'.join(words[:-1])} holds no keys")
    return at


def _each(place: Place, here: Any) -> list[tuple[Place, Any]]:
    return [((*place, i), one) for i, one in enumerate(here)] if isinstance(here, list) else [(place, here)]
