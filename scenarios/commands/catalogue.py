"""`fl-ef21 list` and `fl-ef21 schema`: what a scenario may say."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import typer

from fl_ef21 import plugins
from fl_ef21.errors import InputError, nearest
from scenarios.commands.failures import Code, complain


def show(kind: str, format: str) -> None:
    """Print the names of one kind, each with the first sentence of its documentation."""
    lines = _lines(kind)
    if format == "json":
        typer.echo(json.dumps([{"name": k, "description": v} for k, v in lines.items()], indent=2))
        return
    width = max(map(len, lines))
    for name, line in lines.items():
        typer.echo(f"{name:<{width}}  {line}".rstrip())


def schema(section: str | None) -> None:
    """Print the JSON schema of a whole file or of one section. An unknown section ends with exit code 2."""
    from scenarios.schema import SECTIONS, Scenario

    if section is not None and section not in SECTIONS:
        complain(f"there is no section {section!r}; {nearest(section, list(SECTIONS))}")
        raise typer.Exit(Code.USAGE)
    model = Scenario if section is None else SECTIONS[section]
    typer.echo(json.dumps(model.model_json_schema(), indent=2))


def _lines(kind: str) -> dict[str, str]:
    if kind == "scenarios":
        return _scenarios()
    if kind == "studies":
        return _studies()
    if kind == "profiles":
        from scenarios.commands.profiles import names

        return names()
    return {name: _sentence(thing) for name, thing in _registry(kind).items()} | _others(kind)


def _others(kind: str) -> dict[str, str]:
    """What other packages have, by the names of their entry points; why not, of what cannot be imported."""
    found: dict[str, str] = {}
    for group in (plugins.METHODS, plugins.COMPRESSORS):
        if group == f"fl_ef21.{kind}":
            for name, path in plugins.installed(group).items():
                try:
                    found[name] = f"{_sentence(plugins.load(path, kind, name))} [{path}]"
                except InputError as error:
                    found[name] = f"[{path}] {error.advice}"
    return found


def _registry(kind: str) -> dict[str, Any]:
    if kind == "methods":
        from clients import METHODS

        return dict(METHODS)
    if kind == "compressors":
        from fl_ef21.compressors import COMPRESSORS

        return dict(COMPRESSORS)
    if kind == "models":
        from fl_ef21.problems import MODELS

        return dict(MODELS)
    from fl_ef21.data import SOURCES

    return dict(SOURCES)


def _scenarios() -> dict[str, str]:
    from scenarios.loading import gallery

    return {name: _comment(path) for name, path in gallery().items()}


def _studies() -> dict[str, str]:
    from scenarios.study.reading import studies

    return {name: _comment(path) for name, path in studies().items()}


def _sentence(thing: Any) -> str:
    """The first line of a docstring, without the attributes that may follow on it."""
    return (inspect.getdoc(thing) or "").split("\n")[0].split(" Attributes:")[0]


def _comment(path: Path) -> str:
    """The first line of a scenario file, where it is a comment."""
    first = path.read_text(encoding="utf-8").split("\n", 1)[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
