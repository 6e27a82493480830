"""One side in a process of its own: `python -m benchmarks.side WORLD SIDE [--quick]`.

A line of JSON for each case, as soon as it is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case, World

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

MARK = "RESULT "  # before what is meant for the parent; Flower and Ray print, too
Tell = Callable[[Case, list[float], str], None]
SIDES = ("resident", "flower", "bare")


def measure(side: str, world: World, tell: Tell) -> None:
    """Imports what the side needs and no more: memory is counted."""
    if side == "resident":
        from benchmarks import resident

        resident.measure(world, tell)
    elif side == "bare":
        from benchmarks import loop

        loop.measure(world, tell)
    else:
        _flower(world, tell)


def _flower(world: World, tell: Tell) -> None:
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp

    from benchmarks import rival
    from fl_ef21.flower_internals import simulate

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        rival.serve(grid, world, tell)

    init = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    resources = {"num_cpus": 1, "num_gpus": 0}
    simulate(server, rival.client, world.clients, {"init_args": init, "client_resources": resources})


def rates(asked: int, seconds: list[float], how: str) -> dict[str, Any]:
    """Clients per second of the median, slowest and fastest round."""
    return {
        "clients_per_second": asked / statistics.median(seconds),
        "slowest": asked / max(seconds),
        "fastest": asked / min(seconds),
        "rounds": len(seconds),
        "how": how,
    }


def find(name: str, quick: bool) -> World:
    from benchmarks.cases import worlds
    from benchmarks.growth import points

    return next(world for world in [*worlds(quick), *points(quick)] if world.name == name)


def main() -> None:
    name, side = sys.argv[1:3]

    def tell(case: Case, seconds: list[float], how: str) -> None:
        print(MARK + json.dumps({"case": case.name} | rates(case.asked, seconds, how)), flush=True)

    measure(side, find(name, "--quick" in sys.argv), tell)


if __name__ == "__main__":
    main()
