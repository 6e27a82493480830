"""Numbers as people read them: bytes, seconds, ratios. What is missing or not finite is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

NONE = "–"


def finite(value: Any) -> float | None:
    """The number, None where it is absent, not a number or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of JSON has no limit
        return None
    return number if math.isfinite(number) else None


def short(value: Any, digits: int = 4) -> str:
    """`digits` significant digits, without trailing zeros: 0.3124, 1.2e-07, 12."""
    number = finite(value)
    return NONE if number is None else f"{number:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def count(value: Any) -> str:
    """12,345."""
    number = finite(value)
    return NONE if number is None else f"{number:,.0f}"


def size(value: Any) -> str:
    """Bytes in powers of 1,000 with three digits: 950 B, 1.20 kB, 37.0 MB."""
    number = finite(value)
    if number is None:
        return NONE
    if number < 999.5:
        return f"{number:.0f} B"
    units = iter(("kB", "MB", "GB", "TB"))
    unit = ""
    while number >= 999.5 and unit != "TB":
        number, unit = number / 1000, next(units)
    return f"{number:,.{2 if number < 9.995 else 1 if number < 99.95 else 0}f} {unit}"


def binary(nbytes: int) -> str:
    """Bytes of memory, in powers of 1,024: 96 KiB, 512 MiB, 11.7 GiB."""
    if nbytes < 2**20:
        return f"{nbytes / 2**10:.0f} KiB"
    return f"{nbytes / 2**20:.0f} MiB" if nbytes < 2**30 else f"{nbytes / 2**30:,.1f} GiB"


def times(value: Any) -> str:
    """A ratio: 1.4×, 37×, 1,200×."""
    number = finite(value)
    return NONE if number is None else f"{number:.1f}×" if number < 9.95 else f"{number:,.0f}×"


def percent(value: Any) -> str:
    """A share in [0, 1] as 94.1 %."""
    number = finite(value)
    return NONE if number is None else f"{100 * number:.1f} %"


def seconds(value: Any) -> str:
    """0.42 s, 12.3 s, 3 min 05 s, 2 h 05 min, 4 d 03 h."""
    number = finite(value)
    if number is None:
        return NONE
    if number < 9.995:
        return f"{number:.2f} s"
    if number < 59.95:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3 * 86400:
        return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600:02d} h"


def joules(value: Any) -> str:
    """Energy in powers of 1,000 with three digits: 0.42 J, 12.3 kJ, 1.2 MJ."""
    number = finite(value)
    if number is None:
        return NONE
    units = iter(("kJ", "MJ", "GJ"))
    unit = "J"
    while abs(number) >= 999.5 and unit != "GJ":
        number, unit = number / 1000, next(units)
    return f"{short(number, 3)} {unit}"


def names(ids: Sequence[int]) -> str:
    """Up to ten of them, and how many more."""
    more = [f"{len(ids) - 10:,} more"] * (len(ids) > 10)
    return ", ".join([*map(str, ids[:10]), *more])


def ratio(above: Any, below: Any) -> float | None:
    """above / below, None where there is no such number."""
    a, b = finite(above), finite(below)
    return a / b if a is not None and b else None
