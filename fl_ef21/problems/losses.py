"""Losses of a module's outputs (N, ...) against labels (N,)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fl_ef21.errors import InputError, nearest
from fl_ef21.problems.loading import load


class Loss(Protocol):
    """A mean over samples, and the same sum with a weight for each sample."""

    @property
    def name(self) -> str:
        """As a scenario writes it."""
        ...

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """A scalar."""
        ...

    def weighted(self, outputs: Tensor, labels: Tensor, s: Tensor) -> Tensor:
        """sum_k s_k loss_k, a scalar; s (N,)."""
        ...


@dataclass(frozen=True)
class PerSample:
    """A loss known sample by sample: each(outputs, labels) is (N,)."""

    name: str
    each: Callable[[Tensor, Tensor], Tensor]

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.each(outputs, labels).mean()

    def weighted(self, outputs: Tensor, labels: Tensor, s: Tensor) -> Tensor:
        return (self.each(outputs, labels) * s).sum()


@dataclass(frozen=True)
class MeanOnly:
    """A user's loss, known only as function(outputs, labels) -> scalar mean over samples."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.function(outputs, labels)

    def weighted(self, outputs: Tensor, labels: Tensor, s: Tensor) -> Tensor:
        """Runs of equal weight, such as one client's samples, are one call each."""
        weights, counts = torch.unique_consecutive(s, return_counts=True)
        o, y = torch.split(outputs, counts.tolist()), torch.split(labels, counts.tolist())
        means = torch.stack([self.function(*run) for run in zip(o, y, strict=True)])
        return torch.sum(means * weights * counts)


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """(N,) from scores (N, classes)."""
    return F.cross_entropy(outputs, labels, reduction="none")


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """(N,): mean square distance, for one output to the class number, else to the one-hot label."""
    flat = outputs.flatten(1) if outputs.ndim > 1 else outputs[:, None]
    goal = labels[:, None]
    if flat.shape[1] > 1:
        goal = goal == torch.arange(flat.shape[1], device=goal.device)
    return (flat - goal.to(flat.dtype)).square().mean(dim=1)


@dataclass(frozen=True)
class CrossEntropy(PerSample):
    """`cross_entropy`, whose mean torch takes in one go: the same gradients, bit by bit."""

    def mean(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels)


CROSS_ENTROPY = CrossEntropy("cross-entropy", cross_entropy)
BUILT_IN: dict[str, Loss] = {"cross-entropy": CROSS_ENTROPY, "mse": PerSample("mse", squared_error)}


def find_loss(name: Any) -> Loss:
    """A loss by its name or by "package.module:function". Raises: InputError that names model.loss."""
    if isinstance(name, str) and name in BUILT_IN:
        return BUILT_IN[name]
    if not isinstance(name, str) or ":" not in name:
        advice = f"{nearest(str(name), list(BUILT_IN))}, or write 'package.module:function'"
        raise InputError("model.loss", name, advice)
    function = load("model.loss", name)
    if not callable(function):
        raise InputError("model.loss", name, "is not a function of (outputs, labels)")
    return MeanOnly(name, function)
