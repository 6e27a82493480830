"""Problems: what is minimised, and the gradients clients may ask for (`fl_ef21.types.Problem`).

To add one, write a builder in `builders.py` and name it in `MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fl_ef21.errors import InputError, choose, nearest
from fl_ef21.problems import builders
from fl_ef21.problems.local import Stepped, stepping
from fl_ef21.problems.options import BatchSize, Setting
from fl_ef21.types import Problem

if TYPE_CHECKING:
    from fl_ef21.data.base import Dataset

__all__ = ["MODELS", "build", "needs_data"]

Builder = Callable[..., Stepped]

MODELS: dict[str, Builder] = {
    "logistic": builders.logistic,
    "logistic-nonconvex": builders.logistic_nonconvex,
    "mlp": builders.mlp,
    "cnn": builders.cnn,
    "quadratic": builders.quadratic,
    "theorem1": builders.theorem1,
}


def needs_data(name: str) -> bool:
    """Whether the model is one over samples. Raises: InputError where the name is not known."""
    _builder(name)
    return name not in ("quadratic", "theorem1")


def build(
    name: str,
    *,
    clients: int,
    data: Dataset | None,
    parts: Sequence[np.ndarray] | None,
    options: dict[str, Any],
    batch_size: BatchSize | Sequence[BatchSize],
    weights: str,
    seed: int,
    dtype: torch.dtype,
    device: str = "cpu",
    shards: str | None = None,
    local_steps: int | Sequence[int] = 1,
    local_rate: float | None = None,
    partial: bool = False,
) -> Problem:
    """The problem called `name`, or the module named as "package.module:Class".

    parts: each client's training samples, int64 indices into the data set; options: what [model] says
    besides the name; shards: the device to which shards move their part, where it is another (`devices.on`). Of
    several batch_size or local_steps, each client has its own, dealt in turn. partial: parts may be empty, as those
    samples lie elsewhere.

    Raises: InputError that names the field which cannot work.
    """
    builder = _builder(name)
    sizes = batch_size if isinstance(batch_size, int | str) else tuple(batch_size)
    here, there = torch.device(device), torch.device(shards or device)
    setting = Setting(clients, data, parts, sizes, weights, seed, dtype, here, there, partial)
    takes = [p.name for p in signature(builder).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    for key, value in options.items():
        if key not in takes:
            raise InputError(f"model.{key}", value, f"{name} does not take it; {nearest(key, takes)}")
    if needs_data(name) and (data is None or parts is None):
        raise InputError("data.source", None, f"{name} needs a data set")
    return stepping(builder(setting, **options), local_steps, local_rate)


def _builder(name: str) -> Builder:
    if ":" in name:
        return partial(builders.user, name)
    return choose(MODELS, name, "model.name")
