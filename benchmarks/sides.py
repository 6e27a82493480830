"""The three that are compared; each prints one JSON object: `python -m benchmarks.sides CASE SIDE`."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import torch

from benchmarks.cases import ETA, FRACTION, GAMMA, Case, cases
from fl_ef21.engine import RayGrid, Settings
from fl_ef21.store import Memory


def resident(case: Case) -> dict[str, Any]:
    """Ours: Flower messages, real payloads, the commit protocol, two Ray actors."""
    from scenarios.setup import prepare

    setup = prepare(case.scenario)
    with RayGrid(
        setup.problem.clients, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(2),
        tile=setup.tile,
    ) as grid:  # fmt: skip
        strategy = setup.strategy(0, secrets.token_bytes(16))
        strategy.enrol(grid)
        times, heard = [], 0
        began = time.perf_counter()
        for done in strategy.rounds(grid, case.rounds + 2):
            times.append(time.perf_counter() - began)
            heard += done.participants
            began = time.perf_counter()
    return _report(setup.problem.clients, times[2:])


def bare(case: Case) -> dict[str, Any]:
    """The same arithmetic in one process over rows: no messages, no payloads, no protocol, torch.topk."""
    from scenarios.setup import prepare

    setup = prepare(case.scenario)
    problem, n, d = setup.problem, setup.problem.clients, setup.problem.dim
    k, step = max(1, round(FRACTION * d)), 25 if d < 10**5 else 2
    v, g, server, x = torch.zeros(n, d), torch.zeros(n, d), torch.zeros(d), problem.x0()
    times = []
    for t in range(1, case.rounds + 3):
        began = time.perf_counter()
        for a in range(0, n, step):
            rows = slice(a, min(n, a + step))
            v[rows].lerp_(problem.gradients(x, torch.arange(rows.start, rows.stop), t), ETA)
            u = v[rows] - g[rows]
            index = u.abs().topk(k, dim=1, sorted=False).indices
            value = u.gather(1, index)
            g[rows].scatter_add_(1, index, value)
            server.index_add_(0, index.reshape(-1), value.reshape(-1), alpha=1 / n)
        x = x - GAMMA * server
        times.append(time.perf_counter() - began)
    return _report(n, times[2:])


def flower(case: Case) -> dict[str, Any]:
    """Flower's simulation runtime, v and g in the client's context, one array pair a reply."""
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp

    from benchmarks import rival
    from fl_ef21.flower_internals import simulate

    server, times = ServerApp(), list[float]()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        times.extend(rival.serve(grid, case))

    clients = case.scenario.partition.clients
    options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    simulate(server, rival.client, clients, {"init_args": options, "client_resources": {"num_cpus": 1, "num_gpus": 0}})
    return _report(clients, times[1:])


def _report(clients: int, times: list[float]) -> dict[str, Any]:
    rates = sorted(clients / t for t in times)
    return {"clients_per_second": rates[len(rates) // 2], "slowest": rates[0], "fastest": rates[-1]}


if __name__ == "__main__":
    wanted = next(case for case in cases("--quick" in sys.argv) if case.name == sys.argv[1])
    sides = {"resident": resident, "flower": flower, "bare": bare}
    print("RESULT " + json.dumps(sides[sys.argv[2]](wanted)), flush=True)
