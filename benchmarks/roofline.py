"""The least time a client could take on this machine: `python -m benchmarks.roofline`.

    roofline = 1 / max(bytes / bandwidth, operations / rate)      clients per second

bytes        the batch's features, the model and what else the gradient reads, once; v and g, read and written
             once; k values and k indices of the message, 4 bytes each. q never leaves the cache.
bandwidth    bytes read and written per second of a copy too large for the cache, 1 or all threads
operations   the gradient's, forward and backward; a multiplication and an addition are two
rate         of a large float32 matrix product with all threads

A state that fits the cache (100 clients at d = 7,850 are 6 MB) can beat this bandwidth.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cases import BATCH, CLASSES, World

FLOAT = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """Of one client's step."""

    bytes: int
    operations: int


@dataclass(frozen=True)
class Machine:
    """Bytes and operations per second."""

    bandwidth: float
    rate: float

    def roofline(self, cost: Cost) -> dict[str, Any]:
        """Clients per second, with both terms in microseconds."""
        memory, arithmetic = cost.bytes / self.bandwidth, cost.operations / self.rate
        return asdict(cost) | {
            "memory_us": memory * 1e6,
            "operations_us": arithmetic * 1e6,
            "binds": "memory" if memory > arithmetic else "operations",
            "clients_per_second": 1 / max(memory, arithmetic),
        }


def cost(world: World) -> Cost:
    """Softmax regression multiplies (B, F) by (F, C) and (C, B) by (B, F)."""
    d, batch = world.dim, BATCH * world.features
    moved = FLOAT * (batch + 4 * d + d) + 2 * FLOAT * world.k
    if world.kind == "quadratic":  # reads H and b_i as well; a subtraction and a multiplication
        return Cost(moved + FLOAT * 2 * d, 2 * d)
    return Cost(moved, 4 * batch * CLASSES if world.kind == "softmax" else counted())


def counted() -> int:
    """The network's operations for one batch, as torch counts them: convolutions and matrix products."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.cases import SIDE
    from benchmarks.network import Net

    net, a = Net(), torch.zeros(BATCH, SIDE * SIDE)
    with FlopCounterMode(display=False) as counter:
        loss = torch.nn.functional.cross_entropy(net(a), torch.zeros(BATCH, dtype=torch.int64))
        torch.autograd.grad(loss, list(net.parameters()))
    return int(counter.get_total_flops())


def measure(floats: int = 1 << 26, size: int = 2048) -> Machine:
    """Copies of `floats` numbers and products of (size, size) matrices, the best of five each."""
    import torch

    threads = torch.get_num_threads()
    a, b = torch.ones(floats), torch.ones(floats)
    copies = []
    for t in sorted({1, threads}):
        torch.set_num_threads(t)
        copies.append(_best(lambda: b.copy_(a)))
    A, B, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    return Machine(2 * FLOAT * floats / min(copies), 2 * size**3 / _best(lambda: torch.mm(A, B, out=out)))


def _best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of five."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    from benchmarks.side import MARK

    print(MARK + json.dumps(asdict(measure())), flush=True)
