"""What every problem is built from, and the checks of what a person wrote under [model]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from fl_ef21.errors import InputError, nearest
from fl_ef21.problems.dealing import checked

if TYPE_CHECKING:
    from fl_ef21.data.base import Dataset

BatchSize = int | Literal["full"]  # draws with replacement, or every sample exactly


@dataclass(frozen=True)
class Setting:
    """The part of a scenario that no model chooses for itself.

    Attributes:
      data, parts: the data set and each client's training samples, int64 indices; None where there are none.
      weights: "equal" for w_i = 1/n, "samples" for w_i = m_i / N.
      batch_size: of all clients, or several, dealt to them in turn.
      dtype: of training, float32 or float64.
      device: where the problem lies; shards may move theirs to `shards`, by default the same.
      partial: parts may be empty, as those clients' samples lie elsewhere.
    """

    clients: int
    data: Dataset | None
    parts: Sequence[np.ndarray] | None
    batch_size: BatchSize | tuple[BatchSize, ...]
    weights: str
    seed: int
    dtype: torch.dtype
    device: torch.device
    shards: torch.device | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise InputError("partition.clients", self.clients, "must be at least 1")
        object.__setattr__(self, "batch_size", checked("train.batch_size", self.batch_size, _batch))
        if self.weights not in ("equal", "samples"):
            raise InputError("train.weights", self.weights, nearest(str(self.weights), ["equal", "samples"]))


def _batch(field: str, size: Any) -> None:
    if size != "full" and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise InputError(field, size, 'must be a whole number >= 1 or "full"')


def number(key: str, value: Any, *, least: float = -math.inf, above: float = -math.inf) -> float:
    """A finite number >= least and > above. Raises: InputError that names model.<key>."""
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if real and value >= least and value > above:
        return float(value)
    limit = f" >= {least:g}" if least > -math.inf else f" > {above:g}" if above > -math.inf else ""
    raise InputError(f"model.{key}", value, f"must be a finite number{limit}")


def whole(key: str, value: Any, least: int = 1) -> int:
    """An integer >= least. Raises: InputError that names model.<key>."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise InputError(f"model.{key}", value, f"must be a whole number >= {least}")


def flag(key: str, value: Any) -> bool:
    """Raises: InputError that names model.<key> unless value is true or false."""
    if isinstance(value, bool):
        return value
    raise InputError(f"model.{key}", value, "must be true or false")


def word(key: str, value: Any, known: Sequence[str]) -> str:
    """One of the known words. Raises: InputError that names model.<key> and the nearest one."""
    if isinstance(value, str) and value in known:
        return value
    raise InputError(f"model.{key}", value, nearest(str(value), list(known)))


def numbers(key: str, value: Any, count: int) -> list[float]:
    """`count` finite numbers from a list of that length, or from one number for all of them."""
    if not isinstance(value, list | tuple):
        return [number(key, value)] * count
    if len(value) != count:
        raise InputError(f"model.{key}", value, f"must be a number or a list of {count}, not of {len(value)}")
    return [number(f"{key}[{j}]", one) for j, one in enumerate(value)]
