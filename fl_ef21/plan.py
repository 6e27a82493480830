"""What both halves of a run agree on before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from fl_ef21.arranging import arrange
from fl_ef21.blocks import Array
from fl_ef21.messages import Compressed
from fl_ef21.schedule import Schedule
from fl_ef21.shadow import Shadow
from fl_ef21.types import Compressor
from fl_ef21.wire import Layers

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """One method of a scenario.

    Attributes:
      label: what reports call it.
      method: its name in the registry of client halves.
      eta, gamma: weight of the new gradient and step size, per round.
      compressor: C, whose randomness is keyed by (seed, client, round).
      levels: where clients differ, their compressors, dealt in turn; `compressor` is the first. Else empty.
      downlink: C of the way down, keyed by (seed, round); None sends the model itself.
      shadows: compressors that only look on.
      layers: matrices whose empty rows and columns messages leave out, () where they do not.
      start: whether the first message is the first gradient, or the state starts at zero.
      seed, dtype: of the run; state and gradients are of this dtype.
      hyper: the method's other hyperparameters by name.
      alpha, omega: of the compressor at this d, the worst of several; None where it has none.
      participation: share of the clients whose messages a round wants.
      weights: (n,) float64, w_i where they are the method's and not the problem's; None where they are the problem's.
    """

    label: str
    method: str
    eta: Schedule
    gamma: Schedule
    compressor: Compressor
    start: Literal["gradient", "zero"]
    seed: int
    dtype: torch.dtype
    levels: tuple[Compressor, ...] = ()
    downlink: Compressor | None = None
    shadows: tuple[Shadow, ...] = ()
    layers: Layers = ()
    hyper: Mapping[str, Schedule] = field(default_factory=dict)
    alpha: float | None = None
    omega: float | None = None
    participation: float = 1.0
    weights: Tensor | None = None

    @property
    def compressors(self) -> tuple[Compressor, ...]:
        """All that some client has."""
        return self.levels or (self.compressor,)

    def each(self, clients: Array) -> list[Compressor]:
        """The compressor of each of these clients (m,)."""
        return [self.compressors[i % len(self.compressors)] for i in clients.tolist()]

    def compress(self, u: Tensor, keys: Tensor, clients: Tensor) -> Compressed:
        """Messages in the order of the rows of u (n, d), each by the compressor of its client; ids (n,)."""
        if not self.levels:
            return self.compressor(u, keys)
        level = clients.to(u.device) % len(self.levels)
        kinds = {C: j for j, C in enumerate(dict.fromkeys(self.levels))}
        of = torch.tensor([kinds[C] for C in self.levels], device=u.device)[level]
        rows = [(of == j).nonzero()[:, 0] for j in range(len(kinds))]
        some = [(C, mine) for C, mine in zip(kinds, rows, strict=True) if len(mine)]
        return arrange([C(u[mine], keys[mine]) for C, mine in some], [mine for _, mine in some])

    def half(self, kind: type[T], round: int, **besides: Any) -> T:
        """A half of the method with this round's hyperparameters: those it has fields for, and of `besides`, too."""
        known: dict[str, Any] = {"eta": self.eta(round), "gamma": self.gamma(round), "alpha": self.alpha}
        known |= {"omega": self.omega, "participation": self.participation} | besides
        known |= {name: schedule(round) for name, schedule in self.hyper.items()}
        names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in known.items() if name in names})
