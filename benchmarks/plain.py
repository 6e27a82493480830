"""What the rivals compute with: data and stochastic gradients in plain torch, as a good user writes them.

Nothing of the package is used. `rows` are the clients of a tile, a slice where they follow one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from benchmarks.cases import BATCH, CLASSES, HELD, World
from benchmarks.network import Net

Rows = slice | Tensor
Gradients = Callable[[Tensor, Rows], Tensor]  # x (d,), n clients -> (n, d), memory that the caller may write to


def ids(rows: Rows) -> Tensor:
    return torch.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


@dataclass(frozen=True)
class Samples:
    """All clients' samples, one client after another.

    Attributes:
      features, labels: (N, F) and (N,).
      first, sizes: (clients,), where a client's begin and how many there are.
    """

    features: Tensor
    labels: Tensor
    first: Tensor
    sizes: Tensor

    @classmethod
    def make(cls, clients: int, features: int) -> Samples:
        """Gaussian classes of the shape that the scenario's synthetic data has; the same in every process."""
        rng = torch.Generator().manual_seed(0)
        sizes = torch.full((clients,), HELD)
        labels = torch.randint(CLASSES, (clients * HELD,), generator=rng)
        centres = torch.randn(CLASSES, features, generator=rng) * (4 / math.sqrt(2 * features))
        samples = torch.randn(len(labels), features, generator=rng).add_(centres[labels])
        return cls(samples, labels, sizes.cumsum(0) - sizes, sizes)

    def draw(self, clients: Tensor) -> Tensor:
        """Which samples each client takes, with replacement: (n, B)."""
        return self.first[clients, None] + (torch.rand(len(clients), BATCH) * self.sizes[clients, None]).long()

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(n, B, F) and (n, B)."""
        at = self.draw(ids(rows))
        flat = at.view(-1)
        return self.features.index_select(0, flat).view(*at.shape, -1), self.labels.index_select(0, flat).view(at.shape)


@dataclass(frozen=True)
class Softmax:
    """Softmax regression in closed form; x is W (classes, F), then the bias."""

    samples: Samples

    def __call__(self, x: Tensor, rows: Rows) -> Tensor:
        A, y = self.samples.batch(rows)
        n, B, features = A.shape
        size = CLASSES * features
        R = torch.addmm(x[size:], A.view(-1, features), x[:size].view(CLASSES, features).T).softmax(1).view(n, B, -1)
        R.scatter_add_(2, y[..., None], torch.full((n, B, 1), -1.0)).div_(B)
        q = torch.empty(n, len(x))
        torch.bmm(R.transpose(1, 2), A, out=q[:, :size].view(n, CLASSES, features))
        torch.sum(R, 1, out=q[:, size:])
        return q


class NetworkLoop:
    """One resident network, one client after another."""

    def __init__(self, samples: Samples) -> None:
        self.samples, self.net = samples, Net()
        self.parameters = list(self.net.parameters())

    def __call__(self, x: Tensor, rows: Rows) -> Tensor:
        A, y = self.samples.batch(rows)
        vector_to_parameters(x, self.parameters)
        q = torch.empty(len(A), len(x))
        for i in range(len(A)):
            loss = F.cross_entropy(self.net(A[i]), y[i])
            torch.cat([u.reshape(-1) for u in torch.autograd.grad(loss, self.parameters)], out=q[i])
        return q


class NetworkVmap:
    """All clients of a tile in one vmap."""

    def __init__(self, samples: Samples) -> None:
        self.samples, self.net = samples, Net()
        self.shapes = {name: p.shape for name, p in self.net.named_parameters()}

    def __call__(self, x: Tensor, rows: Rows) -> Tensor:
        def loss(p: dict[str, Tensor], a: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(self.net, p, (a,)), y)

        parts = torch.split(x, [shape.numel() for shape in self.shapes.values()])
        p = {name: part.view(shape) for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)}
        A, y = self.samples.batch(rows)
        g = vmap(grad(loss), in_dims=(None, 0, 0))(p, A, y)
        return torch.cat([g[name].reshape(len(A), -1) for name in self.shapes], dim=1)


@dataclass(frozen=True)
class Quadratic:
    """q = H (x - b_i). H (d,), b (clients, d)."""

    H: Tensor
    b: Tensor

    @classmethod
    def make(cls, clients: int, dim: int) -> Quadratic:
        """Eigenvalues from 0.1 to 1; the same in every process."""
        return cls(
            0.1 ** torch.linspace(1, 0, dim), torch.randn(clients, dim, generator=torch.Generator().manual_seed(0))
        )

    def __call__(self, x: Tensor, rows: Rows) -> Tensor:
        return torch.sub(x, self.b[rows]).mul_(self.H)


def start(world: World) -> Tensor:
    """x^0, (d,)."""
    if world.kind == "network":
        return parameters_to_vector(Net().parameters()).detach()
    return torch.ones(world.dim) if world.kind == "quadratic" else torch.zeros(world.dim)


def ways(world: World) -> dict[str, Gradients]:
    """The ways to take a world's gradients on a CPU, by name; the first is the usual one for a single client."""
    if world.kind == "quadratic":
        return {"batched": Quadratic.make(world.clients, world.dim)}
    samples = Samples.make(world.clients, world.features)
    if world.kind == "softmax":
        return {"batched": Softmax(samples)}
    return {"loop": NetworkLoop(samples), "vmap": NetworkVmap(samples)}
