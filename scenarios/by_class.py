"""Values that differ by class of device: `fraction = { slow = 0.005, fast = 0.02 }`.

A class that is not named takes `other`. What clients are dealt is a list with an entry for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fl_ef21.errors import InputError, nearest
from scenarios import fleets
from scenarios.schema import Scenario

OTHER = "other"


def each(scenario: Scenario, field: str, value: Any) -> Any:
    """A list for all clients where `value` is by class of device, else `value` itself.

    Raises: InputError where there are no devices, a class is not in the profile, or one is left without a value.
    """
    if not isinstance(value, Mapping):
        return value
    if scenario.devices is None:
        raise InputError(field, dict(value), "is by class of device and needs [devices]; or give a number or a list")
    kinds = fleets.kinds(scenario, scenario.partition.clients)
    known = sorted(fleets.classes(scenario))
    for name in value:
        if name not in (*known, OTHER):
            raise InputError(f"{field}.{name}", value[name], f"is no class of the profile; {nearest(name, known)}")
    for name in known:
        if name not in value and OTHER not in value:
            raise InputError(field, dict(value), f"says nothing of the class {name!r}; name it, or give {OTHER!r}")
    return [value.get(kind, value.get(OTHER)) for kind in kinds]
