"""Reading a table of a profile: every mistake by its file, table and key."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError, nearest


def read(path: Path) -> dict[str, Any]:
    """A TOML file. Raises: InputError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("profile", str(path), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("profile", str(path), f"is not TOML: {error}") from error


def known(table: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    """Raises: InputError where the table has other keys."""
    for key in table:
        if key not in keys:
            raise InputError(f"{where}.{key}", table[key], f"there is no such key; {nearest(key, list(keys))}")


def needed(table: Mapping[str, Any], keys: Sequence[str], where: str, what: str) -> None:
    """Raises: InputError where the table lacks one of them."""
    for key in keys:
        if key not in table:
            raise InputError(f"{where}.{key}", None, f"is missing; {what} needs " + ", ".join(keys))


def text(value: Any, where: str) -> str:
    """Raises: InputError where it is none, or empty."""
    if not isinstance(value, str) or not value:
        raise InputError(where, value, "must be a text in quotes")
    return value


def number(value: Any, where: str, *, zero: bool = False, endless: bool = False) -> float:
    """A number > 0, or >= 0 where zero may be; endless: inf may be. Raises: InputError."""
    found = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    bad = math.isinf(found) and not endless
    if zero and (bad or not found >= 0):
        raise InputError(where, value, "must be a number of at least 0")
    if not zero and (bad or not found > 0):
        raise InputError(where, value, "must be a number greater than 0")
    return found
