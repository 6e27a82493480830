"""The slow, obvious loop over the package's halves: no engine, no wire, no protocol."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from clients import METHODS
from fl_ef21.messages import Compressed, Floats, Indices, whole
from fl_ef21.plan import Plan
from fl_ef21.schedule import Schedule
from strategies import SERVERS

Compress = Callable[[Tensor], Compressed]


def topk(k: int) -> Compress:
    """TopK by a stable sort, for float64 rows."""

    def compress(u: Tensor) -> Compressed:
        order = torch.sort(u.abs(), dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values
        counts = torch.full((len(u),), k)
        return Compressed(u.shape[1], counts, Indices(order.reshape(-1)), Floats(u.gather(1, order).reshape(-1)))

    return compress


def run(
    method: str, gradients: Callable[[Tensor, int], Tensor], x0: Tensor, n: int, steps: int, *, gamma: float,
    eta: float = 1.0, C: Compress = whole, start: str = "gradient",
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    """Iterates x^0 .. x^T and g of each step; gradients(x, t) gives (n, d)."""
    plan = Plan(method, method, Schedule(eta), Schedule(gamma), None, start, 0, x0.dtype)  # type: ignore[arg-type]
    kind = METHODS[method]
    x, xs, gs = x0.clone(), [x0.clone()], []
    state = server_state = None
    for t in range(1, steps + 1):
        client = plan.half(kind, t)
        server = plan.half(SERVERS[kind.server], t)
        q = gradients(x, t)
        if t == 1 and kind.dense_start and start == "gradient":
            state, c = client.start(q), whole(q)
        else:
            state = client.start(torch.zeros_like(q)) if state is None else state
            state, c = client.step(state, q, C)
        server_state = server_state or server.start(torch.zeros_like(x0))
        server_state = server.step(server_state, c.total(torch.full((n,), 1 / n, dtype=torch.float64)))
        gs.append(server_state.g)
        x = x - gamma * server_state.g
        xs.append(x.clone())
    return xs, gs
