"""What a Flower app's folder says in its pyproject.toml, and the run-config that a person changes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError, nearest
from fl_ef21.flower_internals import flat_config

CLIENTS = 10  # where the app does not say
PAIR = re.compile(r"(\S+?)=('[^']*'|\"[^\"]*\"|\S+)")  # as `flwr run` reads them


@dataclass(frozen=True)
class AppFolder:
    """An ordinary Flower app, as it lies on the disk.

    Attributes:
      path: absolute.
      components: "serverapp" and "clientapp", each as "package.module:attribute".
      defaults: the run-config, flat: {"a.b": 1}.
      clients: that the app's default federation simulates.
    """

    path: Path
    components: dict[str, str]
    defaults: dict[str, Any]
    clients: int

    @classmethod
    def read(cls, path: Path) -> AppFolder:
        """Raises: InputError where this is no Flower app."""
        file = path / "pyproject.toml"
        if not path.is_dir():
            raise InputError("PATH", str(path), "there is no such folder")
        if not file.is_file():
            raise InputError("PATH", str(path), "holds no pyproject.toml; a Flower app's folder has one")
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError("PATH", str(file), f"is not TOML: {error}") from error
        app = _section(table, "tool.flwr.app")
        try:
            defaults = flat_config(_section(app, "config"))
        except ValueError as error:
            raise InputError("tool.flwr.app.config", _section(app, "config"), str(error)) from error
        return cls(path.resolve(), _components(app, file), defaults, _clients(_section(table, "tool.flwr.federations")))

    def run_config(self, changes: Sequence[str]) -> dict[str, Any]:
        """The defaults with the changes of `--run-config`: "k=v ..." texts, or one TOML file. Raises: InputError."""
        merged = dict(self.defaults)
        for key, value in _changes(changes).items():
            if key not in self.defaults:
                known = list(self.defaults)
                advice = nearest(key, known) if known else "the app has no [tool.flwr.app.config]"
                raise InputError(f"run-config.{key}", value, f"the app has no such key; {advice}")
            wanted = self.defaults[key]
            if _kind(value) != _kind(wanted):
                raise InputError(f"run-config.{key}", value, f"must be {_kind(wanted)}; the default is {wanted!r}")
            merged[key] = value
        return merged


def _section(table: Any, name: str) -> dict[str, Any]:
    for part in name.split("."):
        table = table.get(part, {}) if isinstance(table, dict) else {}
    return table if isinstance(table, dict) else {}


def _components(app: dict[str, Any], file: Path) -> dict[str, str]:
    found = _section(app, "components")
    example = 'such as serverapp = "package.module:app"'
    if not found:
        raise InputError(
            "PATH", str(file), f"has no [tool.flwr.app.components]; a Flower app names its two there, {example}"
        )
    for key in ("serverapp", "clientapp"):
        name = found.get(key)
        module, _, attribute = str(name).partition(":")
        if not all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")]):
            advice = (
                f"must be given in {file}, {example}" if name is None else "must be written as 'package.module:app'"
            )
            raise InputError(f"tool.flwr.app.components.{key}", name, advice)
    return {key: str(found[key]) for key in ("serverapp", "clientapp")}


def _clients(federations: dict[str, Any]) -> int:
    """`options.num-supernodes` of the default federation, where older apps keep it."""
    default = federations.get("default", "")
    count = _section(federations, f"{default}.options").get("num-supernodes", CLIENTS)
    return count if isinstance(count, int) and count >= 1 else CLIENTS


def _changes(changes: Sequence[str]) -> dict[str, Any]:
    if len(changes) == 1 and changes[0].endswith(".toml"):
        return _from_file(Path(changes[0]).expanduser())
    found: dict[str, Any] = {}
    for change in changes:
        if change.endswith(".toml") and "=" not in change:
            raise InputError("--run-config", change, "a TOML file stands alone, without further changes")
        if rest := PAIR.sub("", change).strip():
            raise InputError("--run-config", change, f"{rest!r} is no key=value")
        for key, value in PAIR.findall(change):
            try:
                found |= flat_config(tomllib.loads(f"{key} = {value}"))
            except (tomllib.TOMLDecodeError, ValueError) as error:
                advice = f'{key} must be a number, true, false, or a text in quotes: {key}="{value}"'
                raise InputError("--run-config", change, advice) from error
    return found


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return flat_config(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError("--run-config", str(file), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError("--run-config", str(file), f"cannot be used: {error}") from error


def _kind(value: Any) -> str:
    """Flower takes 1 where the default is 0.1, and the other way round."""
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "a text"
