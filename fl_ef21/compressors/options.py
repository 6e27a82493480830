"""Checks of what a person wrote for a compressor; every failure is an InputError that names the option."""

from __future__ import annotations

import math
from typing import Any

from fl_ef21.errors import InputError


def whole(field: str, value: Any, least: int, most: int | None = None) -> None:
    """Raises: InputError unless `value` is a whole number in least .. most."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not fits or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"in {least} .. {most}"
        raise InputError(field, value, f"must be a whole number {bounds}")


def positive(field: str, value: Any) -> None:
    """Raises: InputError unless `value` is a finite number > 0."""
    if not _number(value) or not 0 < value < math.inf:
        raise InputError(field, value, "must be a number > 0")


def flag(field: str, value: Any) -> None:
    """Raises: InputError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise InputError(field, value, "must be true or false")


def share(field: str, value: Any) -> None:
    """Raises: InputError unless `value` is a number in (0, 1]."""
    if not _number(value) or not 0 < value <= 1:
        raise InputError(field, value, "must lie in (0, 1]")


def count(k: int | None, fraction: float | None, of: int) -> int:
    """k as given, or from a fraction of `of` coordinates, at least one.

    Raises: InputError unless exactly one is given and k lies in 1 .. of.
    """
    if k is not None and fraction is not None:
        raise InputError("fraction", fraction, f"give either k or fraction, not both (k = {k!r})")
    if fraction is not None:
        share("fraction", fraction)
        return max(1, round(fraction * of))
    if k is None:
        raise InputError("k", None, "is missing; give k or fraction")
    whole("k", k, 1, of)
    return k


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
