"""Our side: Flower messages, real payloads, the commit protocol, clients resident in Ray actors."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from benchmarks.cases import Case, World

WARM = 2  # rounds before the clock counts: pages touched and code compiled


def measure(world: World, tell: Callable[[Case, list[float], str], None]) -> None:
    """Time every case of a world; `tell` gets seconds of each round.

    Raises: RuntimeError where a client was not heard: that would be less work than the rivals do.
    """
    from fl_ef21.engine import RayGrid, Settings
    from fl_ef21.store import Memory
    from scenarios.setup import prepare

    setup = prepare(world.scenario())
    with RayGrid(
        world.clients, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(world.actors),
        tile=setup.tile,
    ) as grid:  # fmt: skip
        for case in world.cases:
            strategy = setup.strategy(0, secrets.token_bytes(16))
            strategy.participation = case.asked / world.clients
            strategy.nodes.enrol(grid)
            times, began = list[float](), time.perf_counter()
            for done in strategy.rounds(grid, case.rounds + WARM):
                times.append(time.perf_counter() - began)
                if done.participants != case.asked:
                    raise RuntimeError(f"{done.participants} of {case.asked} clients took part; {done.first}")
                began = time.perf_counter()
            tell(case, times[WARM:], f"{world.actors} actors")
            strategy.retire(grid)
