"""What a schedule of faults is played on: few clients, few coordinates, and sums that are exact in float64.

Every gradient is a multiple of 2^-20 below 8, momenta halve, and weights are powers of two: in float64 no sum is ever
rounded, so the invariant must hold to the last bit; in float32 many are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fl_ef21 import randomness
from scenarios.setup import Setup, prepare
from tests.small import scenario

N, DIM = 4, 24
GRAIN = 1 << 20  # gradients are multiples of 1 / GRAIN
LARGEST = 8.0  # in absolute value
WORLDS: dict[str, dict[str, Any]] = {
    "sgdm": {"name": "ef21-sgdm", "eta": 0.5, "compressor": "topk", "k": 2},
    "sgd2m": {"name": "ef21-sgd2m", "eta": 0.5, "compressor": "randk", "k": 2, "scaled": False},
    "downlink": {"name": "ef21-sgdm", "eta": 0.5, "compressor": "topk", "k": 2, "downlink": "topk:0.34"},
}


@dataclass(frozen=True, eq=False)
class Lattice:
    """A `Problem`: f_i(x) = |x - b_i|^2 / 2 with noise that depends on (client, round), all of it on a lattice."""

    b: Tensor
    noise: Tensor  # (rounds, N, DIM)

    dim = DIM
    shapes = (("x", (DIM,)),)
    clients = N
    rowwise = True
    weights = torch.full((N,), 1 / N, dtype=torch.float64)
    costs = torch.ones(N, dtype=torch.float64)

    def x0(self) -> Tensor:
        return torch.zeros(DIM, dtype=torch.float64)

    def gradients(self, x: Tensor, clients: Tensor, round: int) -> Tensor:
        q = (GRAIN * (x - self.b[clients])).round_() + self.noise[round % len(self.noise)][clients]
        return q.clamp(-GRAIN * LARGEST, GRAIN * LARGEST) / GRAIN

    def objective(self, x: Tensor) -> tuple[float, Tensor]:
        away = x - self.b
        return float(away.square().mean(0).sum() / 2), away.mean(0)

    def accuracy(self, x: Tensor) -> None:
        return None

    def shard(self, clients: range) -> Lattice:
        return self


@cache
def world(name: str) -> Setup:
    """A scenario made concrete, on the lattice."""
    made = prepare(
        scenario(
            method=[WORLDS[name] | {"gamma": 0.25}], model={"name": "quadratic", "dim": DIM, "bias": None},
            partition={"clients": N, "scheme": "iid"}, evaluate={"traffic": "off"},
            train={"participation": 0.75, "dtype": "float64"},
        )
    )  # fmt: skip
    b = _integers("centre", 0, N, 4 * GRAIN) / GRAIN
    noise = torch.stack([_integers("noise", round, N, 2 * GRAIN) for round in range(64)])
    return replace(made, problem=Lattice(b, noise))  # type: ignore[arg-type]


def _integers(purpose: str, round: int, rows: int, many: int) -> Tensor:
    """(rows, DIM) whole numbers, `many` different ones around zero."""
    words = randomness.words(randomness.keys(5, purpose, torch.arange(rows), round), DIM)
    return (words % many - many // 2).to(torch.float64)
