"""Lays clients' samples one after another, also where some clients' lie elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fl_ef21.errors import InputError
from fl_ef21.problems.options import Setting
from fl_ef21.problems.regularizers import Regularizer
from fl_ef21.problems.sampled import Model, Sampled


def over_data(setting: Setting, model: Model, regularizer: Regularizer | None) -> Sampled:
    """The clients' samples of `setting`, on its device and in its dtype.

    Raises: InputError where the parts and the clients do not match.
    """
    assert setting.data is not None and setting.parts is not None
    data, parts = setting.data, setting.parts
    smallest = min((len(part) for part in parts), default=0)
    if len(parts) != setting.clients or (smallest == 0 and not setting.partial):
        advice = f"but the partition has {len(parts)} parts, the smallest of {smallest} samples"
        raise InputError("partition.clients", setting.clients, advice)
    sizes = torch.tensor([len(part) for part in parts], dtype=torch.int64)
    samples = np.concatenate(parts)

    def put(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=setting.device)

    owners = data.test_groups
    return Sampled(
        model,
        regularizer,
        features=torch.from_numpy(data.features[samples]).to(setting.device, setting.dtype),
        labels=put(data.labels[samples], torch.int64),
        first=(sizes.cumsum(0) - sizes).to(setting.device),
        sizes=sizes.to(setting.device),
        weights=_weights(setting, sizes),
        batch_size=setting.batch_size,
        seed=setting.seed,
        test=(put(data.test_features, setting.dtype), put(data.test_labels, torch.int64)),
        tested=None if owners is None else torch.from_numpy(np.bincount(owners, minlength=setting.clients)),
    )


def _weights(setting: Setting, sizes: Tensor) -> Tensor:
    """(clients,) float64, summing to one; a client that knows of its own samples alone has no use for them."""
    if setting.weights == "samples" and bool(sizes.any()):
        return sizes.to(torch.float64) / int(sizes.sum())
    if setting.weights == "samples":
        advice = 'the server holds no samples, so it cannot count them; use "equal", or give it data.path'
        raise InputError("train.weights", setting.weights, advice)
    ones = torch.ones(len(sizes), dtype=torch.float64)
    return ones / ones.sum()
