"""From measurements to a device: what its steps take when nothing is in the way, and a line through the transfers.

    seconds = trips latency + fixed + up / rate_up + down / rate_down

is solved for latency, 1 / rates and what a message's transfer takes besides, none negative, by least absolute
deviations: a stalled transfer does not bend it. A ping has no fixed part; those of a message and its reply are
overhead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.devices.measurements import KINDS, Row
from fl_ef21.devices.profile import POLL, Device
from fl_ef21.errors import InputError

LINKS = ("up", "down", "ping")
TURNS = 40  # of reweighting
FAST = 1e-11  # seconds a byte: a link beyond 100 GB/s was not seen at all


def fit(name: str, rows: Sequence[Row], kind: str = "device") -> Device:
    """The device that these rows are of. Raises: InputError where it cannot be told from them."""
    seconds = {of: np.array([row.seconds for row in rows if row.kind == of]) for of in KINDS}
    if not len(seconds["step"]):
        raise InputError(
            f"device {name}", "step", f"was not measured; a device needs rows of kind step: {KINDS['step']}"
        )
    found = link(name, [row for row in rows if row.kind in LINKS])
    step = _usual(seconds["step"], 0.0)
    if not step > 0:
        raise InputError(f"device {name}", step, "the usual seconds of its rows of kind step must be greater than 0")
    told = {of: _quantiles(column) for of, column in seconds.items() if len(column) and of not in LINKS}
    transfers = sum(row.kind in LINKS for row in rows)
    measured: Mapping[str, Any] = {"transfers": transfers, "transfer_error": found.error, "seconds": told}
    on, off = seconds["on"], seconds["off"]
    return Device(
        name, step, found.up, found.down, kind,
        overhead_seconds=_usual(seconds["overhead"], 0.0) + 2 * found.fixed,
        latency_seconds=found.latency,
        poll_seconds=_usual(seconds["poll"], POLL),
        on_seconds=float(on.mean()) if len(on) and on.mean() > 0 else Device.on_seconds,
        off_seconds=float(off.mean()) if len(off) else 0.0,
        measured=measured,
    )  # fmt: skip


@dataclass(frozen=True)
class Link:
    """A line through transfers.

    Attributes:
      latency: seconds of a trip; fixed: of a message's transfer besides.
      up, down: bytes per second; inf where more bytes do not take longer.
      error: the median one, relative to the transfers' seconds.
    """

    latency: float
    fixed: float
    up: float
    down: float
    error: float


def link(name: str, rows: Sequence[Row]) -> Link:
    """Where transfers are too much alike to tell latency, a fixed part and bytes apart, bytes are taken first, then
    latency. Raises: InputError where a direction was not measured.
    """
    for way in ("up", "down"):
        if not any(getattr(row, way) > 0 for row in rows):
            advice = f"was not measured; a device needs rows of kind {way}: {KINDS[way]}"
            raise InputError(f"device {name}", way, advice)
    A = np.array([[row.up, row.down, row.trips, row.kind != "ping"] for row in rows], dtype=np.float64)
    y, used = np.array([row.seconds for row in rows]), [0, 1]
    even = A / np.maximum(A.max(axis=0), 1)
    for column in (2, 3):
        if np.linalg.matrix_rank(even[:, [*used, column]]) == len(used) + 1:
            used.append(column)
    x = np.zeros(4)
    x[used] = _least_deviations(A[:, used], y)
    error = float(np.median(np.abs(A @ x - y) / np.maximum(y, 1e-9)))
    up, down = (1 / slope if slope > FAST else math.inf for slope in x[:2].tolist())
    return Link(float(x[2]), float(x[3]), up, down, round(error, 4))


def _least_deviations(A: Array, y: Array) -> Array:
    """x >= 0 with the least sum |A x - y|; by least squares with weights 1 / |residual|."""
    from scipy.optimize import nnls

    scale, weights = A.max(axis=0), np.ones(len(y))
    x: Array = np.zeros(A.shape[1])
    small = 1e-4 * float(np.median(y)) + 1e-9  # a residual below this counts as this
    for _ in range(TURNS):
        root = np.sqrt(weights)
        x, _ = nnls(A / scale * root[:, None], y * root)
        weights = 1 / np.maximum(np.abs(A / scale @ x - y), small)
    found: Array = x / scale
    return found


def _usual(column: Array, otherwise: float) -> float:
    """The mean without a tenth at either end; the median of fewer than five."""
    if len(column) < 5:
        return float(np.median(column)) if len(column) else otherwise
    cut = math.ceil(len(column) / 10)
    return float(np.sort(column)[cut:-cut].mean())


def _quantiles(column: Array) -> dict[str, float | int]:
    p10, p50, p90 = (float(q) for q in np.quantile(column, (0.1, 0.5, 0.9)))
    return {"count": len(column), "p10": p10, "p50": p50, "p90": p90}
