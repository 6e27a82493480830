"""Study files -> studies, with the scenario they vary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fl_ef21.errors import nearest
from scenarios import loading, mistakes
from scenarios.loading import ScenarioError
from scenarios.schema import Scenario
from scenarios.study.form import Study

SHOWN = 20  # lines of mistakes


@dataclass(frozen=True)
class Source:
    """A study and the scenario it varies.

    Attributes:
      file: what errors call it.
      text: of the study, where its lines are looked up.
      base: TOML of the scenario, before anything is varied; files are named by their whole paths.
    """

    study: Study
    file: str
    text: str
    base: str

    def scenario(self, changes: Mapping[str, Any] | None = None) -> Scenario:
        """The base with keys changed as by `--set`. Raises: ScenarioError about the study file."""
        words = [f"{key}={toml(value)}" for key, value in (changes or {}).items()]
        with self.blamed(changes or {}):
            return loading.build(self.base, BASE, Path.cwd(), words)

    @contextmanager
    def blamed(self, changes: Mapping[str, Any]) -> Iterator[None]:
        """What a scenario's mistakes are called when the study made them."""
        try:
            yield
        except ScenarioError as error:
            lines = [self._told(line, changes) for line in str(error).splitlines()]
            raise ScenarioError("\n".join(lines)) from error

    def _told(self, line: str, changes: Mapping[str, Any]) -> str:
        if line.startswith("--set "):
            for key in changes:
                line = line.replace(f"--set {key}=", f'{self.file}{self.line(key)}: "{key}" = ', 1)
            return line
        which = ", ".join(f"{key} = {toml(value)}" for key, value in changes.items())
        line = re.sub(rf"^{BASE}(, line \d+)?: ", "", line)
        return f"{self.file}: with {which}: {line}" if which else f"{self.file}: {line}"

    def line(self, key: str) -> str:
        """Where a key of the grid stands, as the end of a file's name; empty where it does not."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", line):
                return f", line {number}"
        return ""


BASE = "the scenario"


def read(path: Path, overrides: Sequence[str] = ()) -> Source:
    """The study of a file, or of the gallery's name of one. `overrides` change its scenario. Raises: ScenarioError."""
    file = found(path)
    return parse(loading.text_of(file), str(file), file.parent, overrides)


def parse(text: str, file: str, folder: Path, overrides: Sequence[str] = ()) -> Source:
    """The study of a text; files it names are in the current folder, else in `folder`. Raises: ScenarioError."""
    table = loading.table_of(text, file)
    try:
        study = Study.model_validate(table)
    except ValidationError as error:
        lines = mistakes.lines(error, table, text, file, {}, Study)
        raise ScenarioError("\n".join(lines)) from error
    return Source(study, file, text, _base(study, file, folder, overrides))


def _base(study: Study, file: str, folder: Path, overrides: Sequence[str]) -> str:
    import tomlkit

    if study.base is not None:
        beside = folder / study.base
        at = beside if not Path(study.base).is_file() and beside.is_file() else loading.found(Path(study.base))
        text, name, folder = loading.text_of(at), str(at), at.parent
        scenario, table = loading.build(text, name, folder, overrides), loading.table_of(text, name)
    else:
        table = dict(study.scenario or {})
        table.setdefault("name", study.name)
        try:
            scenario = loading.build(tomlkit.dumps(table), f"{file}: [scenario]", folder, overrides)
        except ScenarioError as error:
            raise ScenarioError(re.sub(r", line \d+: ", ": ", str(error))) from error
    loading.change(table, overrides)
    for section, key in (("data", "path"), ("data", "test_path"), ("devices", "profile")):
        if section in table and key in table[section]:
            table[section][key] = getattr(getattr(scenario, section), key)
    return tomlkit.dumps(table)


def studies() -> dict[str, Path]:
    """The studies that come with the project, by name."""
    return {path.stem: path for path in sorted((loading.GALLERY / "studies").glob("*.toml"))}


def found(path: Path) -> Path:
    """The file of a path or a name. Raises: ScenarioError."""
    if path.is_file():
        return path
    known = studies()
    if str(path) in known:
        return known[str(path)]
    told = f"there is no such file, and no study of that name; {nearest(path.stem, list(known))}"
    raise ScenarioError(f"{path}: {told}")


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    import tomlkit

    return str(tomlkit.item(value).as_string()) if not isinstance(value, dict) else _inline(value)


def _inline(value: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + "}"
