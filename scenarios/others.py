"""What a scenario takes from other packages."""

from __future__ import annotations

from typing import Any

from clients import METHODS
from clients import OURS as OUR_METHODS
from fl_ef21.compressors import COMPRESSORS
from fl_ef21.compressors import OURS as OUR_COMPRESSORS
from fl_ef21.errors import InputError
from fl_ef21.plugins import named
from scenarios.schema import Scenario


def others(scenario: Scenario) -> list[type[Any]]:
    """Classes of methods and compressors that are not ours.

    Raises: InputError that names the key of one that is not there.
    """
    found = list[type[Any]]()
    for i, method in enumerate(scenario.method):
        words = [("compressor", method.compressor)] + ([("downlink", method.downlink)] if method.downlink else [])
        if method.name not in OUR_METHODS:
            found.append(_kind(METHODS, method.name, f"method[{i}].name"))
        found += _compressors([(f"method[{i}].{key}", word) for key, word in words])
    return found + _compressors([(f"shadow[{i}]", word) for i, word in enumerate(scenario.shadow)])


def _compressors(words: list[tuple[str, str]]) -> list[type[Any]]:
    names = [(field, named(word, OUR_COMPRESSORS)) for field, word in words]
    return [_kind(COMPRESSORS, name, field) for field, name in names if name not in OUR_COMPRESSORS]


def _kind(registry: Any, name: str, field: str) -> type[Any]:
    try:
        kind: type[Any] = registry[name]
    except InputError as error:
        raise InputError(field, error.value, error.advice) from error
    return kind
