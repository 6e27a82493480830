"""The words for when a device is there, such as "markov:3600/600", and where the profiles that come with us lie.

Free of heavy imports, so that a typo is answered at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fl_ef21.errors import choose, nearest

SLOT = 600.0  # seconds in which nothing changes, of `bernoulli`
DAY_SLOT = 1800.0  # the same, of `day-night`
DAY = 86400.0
SHIPPED = Path(__file__).resolve().parent / "profiles"

_SHARE = "share", lambda v: 0 < v <= 1, "must lie in (0, 1]"


def _seconds(name: str) -> tuple[str, Callable[[float], bool], str]:
    return name, lambda v: 0 < v < math.inf, "must be a number of seconds greater than 0"


# of each process its keys, in the order in which a word has them, with what each must be; and what may be left out
_KEYS: dict[str, tuple[tuple[str, Callable[[float], bool], str], ...]] = {
    "always": (),
    "bernoulli": (_SHARE, _seconds("slot_seconds")),
    "day-night": (
        _SHARE,
        ("depth", lambda v: 0 <= v <= 1, "must lie in [0, 1]"),
        ("peak_hour", lambda v: 0 <= v < 24, "must lie in [0, 24)"),
        ("spread_hours", lambda v: 0 <= v <= 12, "must lie in [0, 12]"),
        _seconds("slot_seconds"),
    ),
    "markov": (_seconds("on_seconds"), _seconds("off_seconds")),
    "windows": (_seconds("on_seconds"), _seconds("off_seconds")),
    "trace": (_seconds("period_seconds"),),
}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "bernoulli": {"slot_seconds": SLOT},
    "day-night": {"share": 0.35, "peak_hour": 2.0, "spread_hours": 3.0, "slot_seconds": DAY_SLOT},
    "trace": {"period_seconds": None},
}
FORMS = "always, bernoulli:0.7, day-night, day-night:0.35, markov:3600/600, windows:600/5100, or trace:FILE.csv"


def availability(text: str) -> dict[str, Any]:
    """The table of a word: process and its keys. Raises: ValueError with what would be right."""
    name, colon, rest = text.partition(":")
    if name not in _KEYS:
        raise ValueError(f"{text!r} is not known; {nearest(name, list(_KEYS))}; write one of {FORMS}")
    if name == "trace":
        return checked({"process": name, "file": rest})
    told, keys = rest.split("/") if colon else [], [key for key, _, _ in _KEYS[name]]
    if len(told) > len(keys):
        raise ValueError(f"{text!r} has {len(told)} numbers and {name} takes {len(keys)}; write one of {FORMS}")
    try:
        numbers = [float(one) for one in told]
    except ValueError as error:
        raise ValueError(f"{text!r} must have numbers after the colon; write one of {FORMS}") from error
    return checked({"process": name} | dict(zip(keys, numbers, strict=False)))


def checked(table: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what was left out. Raises: ValueError with the key and what would be right."""
    name = table.get("process")
    if name not in _KEYS:
        raise ValueError(f"process = {name!r} is not known; {nearest(str(name), list(_KEYS))}")
    keys = _KEYS[name]
    known = ["process", *(key for key, _, _ in keys), *(["file"] if name == "trace" else [])]
    for key in table:
        if key not in known:
            raise ValueError(f"{key} is no key of {name}; {nearest(key, known)}")
    if name == "trace" and not (isinstance(table.get("file"), str) and table["file"]):
        raise ValueError("trace needs a file of device, start_s, end_s, such as trace:phones.csv")
    found = _DEFAULTS.get(name, {}) | dict(table)
    if name == "day-night" and "depth" not in found and _number(found["share"]) and keys[0][1](found["share"]):
        found["depth"] = min(1.0, 1 / found["share"] - 1)
    for key, fits, advice in keys:
        if key not in found:
            raise ValueError(f"{name} needs {key}; write one of {FORMS}")
        value = found[key]
        if value is None and key == "period_seconds":
            continue
        if not _number(value) or not fits(value):
            raise ValueError(f"{key} = {value!r} {advice}")
        found[key] = float(value)
    if name == "day-night" and found["share"] * (1 + found["depth"]) > 1 + 1e-9:
        most = 1 / found["share"] - 1
        raise ValueError(f"depth = {found['depth']:g} must be at most {most:.3g}: share (1 + depth) is a probability")
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def word(text: str) -> str:
    """The same text. Raises: ValueError where it says no availability."""
    availability(text)
    return text


def shipped() -> dict[str, Path]:
    """The profiles that come with us, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}


def named(profile: str) -> Path:
    """The file of a profile's name or path. Raises: InputError with the nearest name."""
    known = shipped()
    if profile in known:
        return known[profile]
    path = Path(profile)
    if path.is_file() or path.suffix or len(path.parts) > 1:
        return path  # whose reader says what is wrong with it
    return choose(known, profile, "devices.profile")
