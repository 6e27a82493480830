"""Finds what a person named as "package.module:Name"."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from fl_ef21.errors import InputError, nearest


def load(field: str, name: str) -> Any:
    """The object called Name in package.module. Raises: InputError for `field`, saying what failed."""
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), *attribute.split(".")]):
        raise InputError(field, name, "write it as 'package.module:Name'")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            advice = f"there is no module {error.name!r}; is its folder on PYTHONPATH?"
        else:
            advice = f"importing {module_name} failed: {error}"
        raise InputError(field, name, advice) from error
    except Exception as error:
        advice = f"importing {module_name} failed: {type(error).__name__}: {error}"
        raise InputError(field, name, advice) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [word for word in vars(found) if not word.startswith("_")]
            raise InputError(field, name, f"{module_name} has no {part!r}; {nearest(part, public)}")
        found = getattr(found, part)
    return found
