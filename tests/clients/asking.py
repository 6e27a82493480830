"""Client halves that ask, in a loop of their own: noisy quadratics, everybody answers, no engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fl_ef21.messages import whole
from strategies import SERVERS
from tests.clients.test_closed_forms import CURVES, ROOTS, N, gradients, zero
from tests.loop import Compress

WEIGHTS = torch.full((N,), 1 / N, dtype=torch.float64)


def exact(y: Tensor) -> Tensor:
    return CURVES * (y - ROOTS)


def noiseless(y: Tensor, t: int) -> Tensor:
    return exact(y)


@dataclass(frozen=True)
class Asked:
    """What a half may ask in round t at x, where clients draw `gradients`."""

    x: Tensor
    heard: Tensor
    t: int
    gradients: Callable[[Tensor, int], Tensor] = gradients

    @property
    def q(self) -> Tensor:
        return self.gradients(self.x, self.t)

    @property
    def here(self) -> Tensor:
        return self.x.expand(N, -1)

    def at(self, y: Tensor) -> Tensor:
        return self.gradients(y, self.t)

    def exact(self, y: Tensor) -> Tensor:
        return exact(y)

    def coin(self, p: float) -> Tensor:
        return torch.frac(torch.arange(N, dtype=torch.float64) * 0.618 + self.t * 0.414)[:, None] < p


@dataclass(frozen=True)
class Moment:
    """After a round: the model it was asked at, the clients' state, the server's g."""

    x: Tensor
    state: Any
    g: Tensor


def moments(
    half: Any, steps: int, C: Compress = whole, *, gamma: float = 0.1, start: str = "gradient",
    draws: Callable[[Tensor, int], Tensor] = gradients,
) -> Iterator[Moment]:  # fmt: skip
    """Round after round of a half's method."""
    kind = SERVERS[half.server]
    server = kind(gamma=gamma) if half.server == "ef14" else kind()
    x, s, asks = zero(), server.start(zero()), getattr(half, "asks", False)
    state = None
    for t in range(1, steps + 1):
        o = Asked(x, s.g, t, draws)
        begun = half.start(o if asks else o.q)
        if t == 1 and half.dense_start and start == "gradient":
            state, c = begun, whole(getattr(begun, "g", getattr(begun, "v", None)))
        else:
            state = fresh(begun, x) if state is None else state
            state, c = half.step(state, o if asks else o.q, C)
        s = server.step(s, c.total(WEIGHTS))
        yield Moment(x, state, s.g)
        x = x - gamma * s.g


def fresh(state: Any, x: Tensor) -> Any:
    """The same state before anything was sent: zeros, and x for a field of that name."""
    blank = {name: torch.zeros_like(value) for name, value in vars(state).items()}
    return type(state)(**blank | ({"x": x.expand(N, -1)} if "x" in blank else {}))


def path(half: Any, steps: int, C: Compress = whole, **how: Any) -> Tensor:
    """The models of `moments`, (steps, d)."""
    return torch.stack([moment.x for moment in moments(half, steps, C, **how)])
