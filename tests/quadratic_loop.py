"""The slow, obvious loop for halves that ask an oracle: quadratics of different clients, no engine, no wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from clients import METHODS
from fl_ef21.facts import facts_of
from fl_ef21.messages import Compressed, whole
from strategies import SERVERS

N, D = 5, 12
ROOTS = torch.linspace(-1, 1, N * D, dtype=torch.float64).reshape(N, D).roll(3, 1)
CURVES = torch.linspace(0.2, 1.0, N * D, dtype=torch.float64).reshape(N, D).roll(5, 0)
Compressing = Callable[[int], Callable[[Tensor], Compressed]]  # of round t


def minimiser() -> Tensor:
    """(d,), of the mean of all."""
    return (CURVES * ROOTS).sum(dim=0) / CURVES.sum(dim=0)


@dataclass(frozen=True)
class Asked:
    """What `fl_ef21.oracle.Oracle` promises, of some of the clients in round t.

    Attributes:
      noise: the size of what stochastic gradients are off by, which depends on client, round and local step alone.
    """

    x: Tensor
    heard: Tensor
    who: Tensor
    t: int
    noise: float
    K: int
    rate: float

    def exact(self, y: Tensor) -> Tensor:
        return CURVES[self.who] * (y - ROOTS[self.who])

    def at(self, y: Tensor, k: int = 0) -> Tensor:
        wave = torch.arange(N * D, dtype=torch.float64).reshape(N, D) * 12.9898
        return self.exact(y) + self.noise * torch.sin(wave + 78.233 * self.t + 3.7 * k)[self.who]

    @property
    def here(self) -> Tensor:
        return self.x.expand(len(self.who), -1)

    @property
    def q(self) -> Tensor:
        return self.along()

    def _path(self, shift: Tensor | float, mu: float) -> tuple[Tensor, Tensor]:
        y, total = self.here, torch.zeros_like(self.here)
        for k in range(self.K):
            q = self.at(y, k)
            total, y = total + q / self.K, y - self.rate * (q + shift + mu * (y - self.x))
        return total, (self.x - y) / (self.rate * self.K)

    def along(self, shift: Tensor | float = 0.0, mu: float = 0.0) -> Tensor:
        return self._path(shift, mu)[0]

    def moved(self, shift: Tensor | float = 0.0, mu: float = 0.0) -> Tensor:
        return self._path(shift, mu)[1]

    def common(self, p: float) -> bool:
        return bool(torch.sin(torch.tensor(1000.0 + 12.9898 * self.t)) * 43758.5453 % 1 < p)


def made(kind: type[Any], **values: Any) -> Any:
    """A half, from those values it has fields for."""
    return kind(**{f.name: values[f.name] for f in fields(kind) if f.name in values})


def run(
    method: str, steps: int, *, gamma: float = 0.1, C: Compressing = lambda t: whole, start: str = "gradient",
    noise: float = 0.3, K: int = 1, rate: float = 0.05, sample: int = N, **values: Any,
) -> list[Tensor]:  # fmt: skip
    """Iterates x^0 .. x^T, after a check in every round that the server's g is the mean of the clients' g_i.

    sample: how many clients are asked in a round, all of them where the first message is the gradient itself.
    """
    kind = METHODS[method]
    facts = facts_of(kind)
    x = torch.zeros(D, dtype=torch.float64)
    before, xs, state, held = x, [x], None, None
    for t in range(1, steps + 1):
        first = t == 1 and facts.dense_start and start == "gradient"
        order = torch.randperm(N, generator=torch.Generator().manual_seed(t))
        who = torch.arange(N) if first else order[:sample].sort().values
        given = {"gamma": gamma, "participation": sample / N, "share": len(who) / N} | values
        client, server = made(kind, **given), made(SERVERS[kind.server], **given)
        held = server.start(torch.zeros_like(x)) if held is None else held
        heard = held.g if facts.hears == "g" else before

        def asked(ids: Tensor, heard: Tensor = heard, t: int = t, x: Tensor = x) -> Any:
            o = Asked(x, heard, ids, t, noise, K, rate)
            return o if facts.asks else o.q

        if first:
            state = client.start(asked(who))
            c = whole(getattr(state, "g", asked(who)))
        else:
            state = fresh(client, asked(torch.arange(N))) if state is None else state
            then = {k: torch.where(v[who].isnan(), x, v[who]) for k, v in vars(state).items()}
            mine, c = client.step(type(state)(**then), asked(who), C(t))
            state = type(state)(**{k: v.index_copy(0, who, getattr(mine, k)) for k, v in vars(state).items()})
        weight = 1 / N if server.remembers else 1 / sample
        held = server.step(held, c.total(torch.full((len(who),), weight, dtype=torch.float64)))
        if server.remembers:
            assert torch.allclose(held.g, state.g.mean(dim=0), rtol=0, atol=1e-12)
        before, x = x, x - gamma * (server.direction(held) if hasattr(server, "direction") else held.g)
        xs.append(x)
    return xs


def fresh(client: Any, asked: Any) -> Any:
    """The state of clients that have sent nothing: zeros, and of the model they last received no number."""
    state = client.start(asked)
    return type(state)(**{k: torch.full_like(v, torch.nan if k == "x" else 0.0) for k, v in vars(state).items()})


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest of any coordinate of any iterate."""
    return max(float((x - y).abs().max()) for x, y in zip(a, b, strict=True))
