"""What both halves of a run agree on before it starts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

import torch

from fl_ef21.schedule import Schedule
from fl_ef21.types import Compressor

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """One method of a scenario.

    Attributes:
      label: what reports call it.
      method: its name in the registry of client halves.
      eta, gamma: weight of the new gradient and step size, per round.
      compressor: C, whose randomness is keyed by (seed, client, round).
      start: whether the first message is the first gradient, or the state starts at zero.
      seed, dtype: of the run; state and gradients are of this dtype.
    """

    label: str
    method: str
    eta: Schedule
    gamma: Schedule
    compressor: Compressor
    start: Literal["gradient", "zero"]
    seed: int
    dtype: torch.dtype

    def half(self, kind: type[T], round: int) -> T:
        """A half of the method with this round's hyperparameters: those of eta and gamma it has fields for."""
        hyper: dict[str, Any] = {"eta": self.eta(round), "gamma": self.gamma(round)}
        names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in hyper.items() if name in names})
