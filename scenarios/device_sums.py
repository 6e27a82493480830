"""What devices did during a method, summed by class: who was heard, how long they worked, what energy that took."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.clock import Spans
from fl_ef21.devices.fleet import Fleet

NAMES = ("asked", "used", "late", "lost", "compute_seconds", "link_seconds", "compute_joules", "radio_joules")
COMPUTE, SEND, RECEIVE, IDLE = range(4)  # columns of Fleet.power


class DeviceSums:
    """Attributes:
    table: (len(NAMES), n) float64, a column for each client. Of replies that come in a later round `used` counts.
    """

    def __init__(self, clients: int) -> None:
        self.table: Array = np.zeros((len(NAMES), clients))

    def work(self, fleet: Fleet, spans: Spans) -> Array:
        """These were asked; the joules (m,) that it takes them, NaN where nobody knows."""
        i = spans.clients
        watts, computing = fleet.power(i), spans.computed - spans.downloaded
        fetching, sending = spans.downloaded - spans.begins, spans.arrives - spans.computed
        compute = computing * watts[:, COMPUTE]
        radio = fetching * watts[:, RECEIVE] + sending * watts[:, SEND]
        for name, amount in (
            ("asked", 1.0), ("compute_seconds", computing), ("link_seconds", fetching + sending),
            ("compute_joules", compute), ("radio_joules", radio),
        ):  # fmt: skip
            self.table[NAMES.index(name), i] += amount
        found: Array = compute + radio
        return found

    def count(self, name: str, clients: Array) -> None:
        """One more of these for each of the clients."""
        self.table[NAMES.index(name), clients] += 1

    def image(self) -> Tensor:
        return torch.from_numpy(self.table.copy())

    def restore(self, table: Tensor) -> None:
        self.table = table.numpy().copy()

    def by_class(self, fleet: Fleet, now: float) -> dict[str, Any]:
        """Class of device to its figures at this virtual time; joules are None where nobody knows its power."""
        kinds, found = np.array(fleet.kinds), dict[str, Any]()
        idle_watts = fleet.power(np.arange(len(kinds)))[:, IDLE]
        busy = self._of("compute_seconds") + self._of("link_seconds")
        idle = np.maximum(0.0, now - busy)
        for kind in sorted(set(fleet.kinds)):
            mine = kinds == kind
            sums = {name: float(self._of(name)[mine].sum()) for name in NAMES}
            joules = [sums["compute_joules"], sums["radio_joules"], float((idle * idle_watts)[mine].sum())]
            found[kind] = {
                "clients": int(mine.sum()),
                **{name: int(sums[name]) for name in NAMES[:4]},
                **{name: round(sums[name], 6) for name in ("compute_seconds", "link_seconds")},
                "idle_seconds": round(float(idle[mine].sum()), 6),
                "joules": dict(zip(("compute", "radio", "idle"), map(_known, joules), strict=True)),
            }
        return found

    def _of(self, name: str) -> Array:
        column: Array = self.table[NAMES.index(name)]
        return column


def _known(value: float) -> float | None:
    return round(value, 6) if np.isfinite(value) else None
