"""The bare loop: EF21-SGDM over tiles of clients in one process, as a good user of torch writes it.

No messages, payloads or protocol. Of a few ways (gradients, tile, threads) the fastest in a short
warm-up is the rival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.cases import ETA, GAMMA, Case, World

TRIAL = {"softmax": 100, "network": 20, "quadratic": 8}  # clients of a warm-up trial, so that slow ways cost little
ROWS = {"softmax": (16, 50), "network": (10,), "quadratic": (1, 4)}  # tiles tried


class Loop:
    """Both sides of the method, v and g (clients, d) updated in place."""

    def __init__(self, gradients: plain.Gradients, x: Tensor, clients: int, k: int, tile: int) -> None:
        self.gradients, self.k, self.tile, self.n = gradients, k, tile, clients
        self.v, self.g = torch.zeros(clients, len(x)), torch.zeros(clients, len(x))
        self.x, self.sum = x, torch.zeros_like(x)

    def round(self, asked: Tensor | None = None) -> None:
        """Everybody, or the clients `asked` (m,)."""
        for a in range(0, self.n if asked is None else len(asked), self.tile):
            b = a + self.tile
            self._everyone(slice(a, min(b, self.n))) if asked is None else self._some(asked[a:b])
        self.x = self.x.sub(self.sum, alpha=GAMMA)

    def _everyone(self, rows: slice) -> None:
        q, v, g = self.gradients(self.x, rows), self.v[rows], self.g[rows]
        v.lerp_(q, ETA)
        index, c = self._choose(torch.sub(v, g, out=q))
        g.scatter_add_(1, index, c)

    def _some(self, rows: Tensor) -> None:
        q = self.gradients(self.x, rows)
        v = self.v.index_select(0, rows).lerp_(q, ETA)
        self.v.index_copy_(0, rows, v)
        index, c = self._choose(v.sub_(torch.index_select(self.g, 0, rows, out=q)))
        self.g.index_put_((rows[:, None], index), c, accumulate=True)

    def _choose(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """TopK of u (n, d), added into the server's sum."""
        index = u.abs().topk(self.k, dim=1, sorted=False).indices
        c = u.gather(1, index)
        self.sum.index_add_(0, index.view(-1), c.view(-1), alpha=1 / self.n)
        return index, c


def measure(world: World, tell: Callable[[Case, list[float], str], None]) -> None:
    """Time every case of a world; `tell` gets seconds of each round and what won."""
    threads = torch.get_num_threads()
    ways = plain.ways(world)
    for case in world.cases:
        best = min(
            (_trial(world, case, ways[way], tile, t), -t, way, tile)
            for way in ways for tile in ROWS[world.kind] for t in {1, threads}
        )  # fmt: skip
        _, t, way, tile = best
        torch.set_num_threads(-t)
        rounds = _timed(world, case, ways[way], tile)
        next(rounds)  # pages touched for the first time
        tell(case, [next(rounds) for _ in range(case.rounds)], f"{way}, tile {tile}, {-t} threads")


def _trial(world: World, case: Case, gradients: plain.Gradients, tile: int, threads: int) -> float:
    """Seconds of the best of two short rounds, after one to warm up."""
    torch.set_num_threads(threads)
    most = min(TRIAL[world.kind], case.asked)
    loop = Loop(gradients, plain.start(world), most if case.asked == world.clients else world.clients, world.k, tile)
    asked = None if case.asked == world.clients else torch.randperm(world.clients)[:most]
    times = []
    for _ in range(3):
        began = time.perf_counter()
        loop.round(asked)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _timed(world: World, case: Case, gradients: plain.Gradients, tile: int) -> Iterator[float]:
    """Seconds of round after round."""
    loop = Loop(gradients, plain.start(world), world.clients, world.k, tile)
    while True:
        began = time.perf_counter()
        sampled = case.asked < world.clients
        loop.round(torch.randperm(world.clients)[: case.asked].sort().values if sampled else None)
        yield time.perf_counter() - began
