"""Quadratics with a known Hessian and known noise: f_i(x) = 1/2 (x - b_i)^T H (x - b_i), H diagonal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fl_ef21 import randomness
from fl_ef21.kernels import quadratic as kernel
from fl_ef21.problems.dealing import dealt
from fl_ef21.problems.noise import Noise
from fl_ef21.problems.options import BatchSize
from fl_ef21.problems.sampled import Shapes, draws, purpose


def spectrum(mu: float, L: float, dim: int) -> Tensor:
    """(dim,) float64, spaced geometrically from mu to L; L alone where dim is 1."""
    if dim == 1:
        return torch.tensor([L], dtype=torch.float64)
    return L * (mu / L) ** torch.linspace(1, 0, dim, dtype=torch.float64)


def centres(seed: int, clients: int, dim: int, heterogeneity: float) -> Tensor:
    """b (clients, dim) float64: heterogeneity times a standard normal keyed by the client."""
    key = randomness.keys(seed, "centre", torch.arange(clients), 0)
    return heterogeneity * randomness.normal(key, dim)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A `Problem` without data: gradients are H (x - b_i) plus the mean of batch_size draws of noise.

    A shard's `objective` is sum_i w_i f_i over its own clients: shards add up to f. Clients' gradients are on
    H's device; what the server holds (x0, weights, the objective's gradient) is on the CPU.

    Attributes:
      H: (d,) float64, the eigenvalues.
      b: float64, one row for each client held, which are `held`.
      start: (d,) in the training dtype.
      noise: None for exact gradients.
      batch_size: draws of noise, "full" is none; of several, each client has its own, dealt in turn.
    """

    H: Tensor
    b: Tensor
    held: range
    start: Tensor
    weights: Tensor
    noise: Noise | None
    batch_size: BatchSize | tuple[BatchSize, ...]
    seed: int

    @property
    def dim(self) -> int:
        return len(self.H)

    @property
    def shapes(self) -> Shapes:
        return (("x", (self.dim,)),)

    @property
    def clients(self) -> int:
        return len(self.weights)

    @property
    def rowwise(self) -> bool:
        return True  # nothing but sums and products of single numbers

    def x0(self) -> Tensor:
        return self.start.clone()

    @property
    def costs(self) -> Tensor:
        return torch.ones(self.clients, dtype=torch.float64)

    def gradients(self, x: Tensor, clients: Tensor, round: int, step: int = 0) -> Tensor:
        """See `Problem` and `Stepped`. Raises: IndexError where a client is not held by this shard."""
        clients = clients.to(self.b.device)
        row = torch.div(clients - self.held.start, self.held.step, rounding_mode="floor")
        inside = (row >= 0) & (row < len(self.held)) & (row * self.held.step + self.held.start == clients)
        if not bool(inside.all()):
            raise IndexError(f"clients {clients[~inside].tolist()} are not in this shard")
        if self.noise is None or self.batch_size == "full":
            return self._exact(x, row, self.start.dtype)
        q = self._exact(x, row, torch.float64)
        key = randomness.keys(self.seed, purpose("noise", step), clients, round)
        if isinstance(self.batch_size, tuple):
            self._disturb(q, dealt(draws(self.batch_size), clients), key, self.noise)
        else:
            q += self.noise.mean(key, self.batch_size, self.dim)
        return q.to(self.start.dtype)

    def _exact(self, x: Tensor, row: Tensor, dtype: torch.dtype) -> Tensor:
        """H (x - b_i) of the clients in these rows of b, computed in float64."""
        if self.H.device.type != "cpu":
            return (self.H * (x.to(self.H) - self.b[row])).to(dtype)
        out = torch.empty(len(row), self.dim, dtype=dtype)
        points = x.reshape(-1, self.dim).contiguous()  # (1, d) or (n, d)
        kernel.gradients(self.H.numpy(), points.numpy(), self.b.numpy(), row.numpy(), out.numpy())
        return out

    def _disturb(self, q: Tensor, draw: Tensor, key: Tensor, noise: Noise) -> None:
        """Adds to each client's row the mean of its own number of draws."""
        for count in sorted(set(draw.tolist()) - {0}):
            mine = (draw == count).nonzero()[:, 0]
            q[mine] += noise.mean(key[mine], count, self.dim)

    def objective(self, x: Tensor) -> tuple[float, Tensor]:
        """Exact: f(x) = w/2 |x - u|_H^2 + 1/2 sum_i w_i |b_i - u|_H^2, u the weighted mean of the b_i."""
        x, w = x.to(self.H), self.weights[list(self.held)].to(self.H)
        u = (w[:, None] * self.b).sum(dim=0) / w.sum()
        spread = (w[:, None] * (self.b - u).square()).sum(dim=0)
        value = 0.5 * (self.H * (w.sum() * (x - u).square() + spread)).sum()
        return float(value), (w.sum() * self.H * (x - u)).cpu()

    def accuracy(self, x: Tensor) -> None:
        return None

    def sums(self, x: Tensor, clients: Tensor) -> Tensor:
        """See `Problem`: f_i itself, as of one sample."""
        rows = torch.tensor([self.held.index(i) for i in clients.tolist()])
        f = 0.5 * (self.H * (x.to(self.H) - self.b[rows]).square()).sum(dim=1).cpu()
        return torch.stack([torch.ones_like(f), f, torch.zeros_like(f), torch.zeros_like(f)], dim=1)

    def shard(self, clients: range) -> Quadratic:
        rows = [self.held.index(i) for i in clients]
        return replace(self, b=self.b[rows], held=clients)
