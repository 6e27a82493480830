"""Values that differ by class of device: `fraction = { nb-iot = 0.005, other = 0.02 }`, or by link.

A class that is not named takes `other`. `{ slow = 0.005, fast = 0.02 }` goes by link where no class has these names:
slow is who sends at less than the median rate. What clients are dealt is a list with an entry for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fl_ef21.errors import InputError, nearest
from scenarios import fleets
from scenarios.schema import Scenario

OTHER = "other"
LINKS = {"slow", "fast"}


def each(scenario: Scenario, field: str, value: Any) -> Any:
    """A list for all clients where `value` is by class of device, else `value` itself.

    Raises: InputError where there are no devices, a class is not in the profile, or one is left without a value.
    """
    if not isinstance(value, Mapping):
        return value
    if scenario.devices is None:
        raise InputError(field, dict(value), "is by class of device and needs [devices]; or give a number or a list")
    n, known = scenario.partition.clients, sorted(fleets.classes(scenario))
    if set(value) == LINKS and not LINKS & set(known):
        rates = fleets.uplinks(scenario, n)
        return [value["slow" if slow else "fast"] for slow in (rates < np.median(rates)).tolist()]
    kinds = fleets.kinds(scenario, n)
    for name in value:
        if name not in (*known, OTHER):
            raise InputError(f"{field}.{name}", value[name], f"is no class of the profile; {nearest(name, known)}")
    for name in known:
        if name not in value and OTHER not in value:
            raise InputError(field, dict(value), f"says nothing of the class {name!r}; name it, or give {OTHER!r}")
    return [value.get(kind, value.get(OTHER)) for kind in kinds]
