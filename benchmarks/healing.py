"""What it costs that shards heal, and how long it takes: `python -m benchmarks.healing`.

Two grids of two actors each, one of which keeps images and logs, take turns in one Ray; both do the same rounds of
EF21-SGDM with all of 1,000 clients, d = 7,850. Then shards are killed.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.cases import Case, World, softmax

TURN = 5  # rounds of one grid before it is the other's turn
WARM = 3  # turns before the clock counts


def world(clients: int = 1000, features: int = 784, actors: int = 2) -> World:
    """Everybody is asked."""
    return softmax("healing", clients, features, [Case("all", clients, 1, 0)], actors=actors)


def measure(world: World, seconds: float = 60.0, kills: int = 3) -> dict[str, Any]:
    """Rounds on both sides for about so many seconds, and what every kill costs.

    Raises: RuntimeError where a client was not heard, or the two sides end with different models.
    """
    from fl_ef21.engine import RayGrid, Settings
    from fl_ef21.store import Memory
    from scenarios.setup import prepare

    setup = prepare(world.scenario())
    settings = Settings(world.actors, cpus_per_actor=0.5)  # so that there is room for both

    def grid(heal: bool) -> RayGrid:
        return RayGrid(
            world.clients, batched=lambda block: setup.program(block, Memory(block)), settings=settings,
            tile=setup.tile, heal=heal,
        )  # fmt: skip

    with grid(True) as healing, grid(False) as plain:
        runs = {True: Run(setup, healing, world.clients), False: Run(setup, plain, world.clients)}
        began, turns = time.perf_counter(), 0
        while turns < WARM + 2 or time.perf_counter() - began < seconds:
            for heals in (True, False) if turns % 2 else (False, True):
                runs[heals].turn(turns >= WARM)
            turns += 1
        if runs[True].strategy.digest() != runs[False].strategy.digest():
            raise RuntimeError("the two sides differ")
        heal = [runs[True].killed(world.clients * kill // kills) for kill in range(kills)]
        keeper: Any = healing._pool._keeper  # type: ignore[attr-defined]
        return _figures(runs[True], runs[False], heal, keeper)


class Run:
    """One side: rounds of one strategy on one grid, and the time they take."""

    def __init__(self, setup: Any, grid: Any, clients: int) -> None:
        self.grid, self.clients, self.strategy = grid, clients, setup.strategy(0, b"healing")
        self.wall, self.cpu = list[float](), list[float]()
        self._rounds: Iterator[Any] = self.strategy.rounds(grid, 10**6)

    def turn(self, counts: bool) -> None:
        """Some rounds, each timed on the clock and in this process's own seconds."""
        for _ in range(TURN):
            wall, cpu = self._round()
            if counts:
                self.wall.append(wall)
                self.cpu.append(cpu)

    def killed(self, client: int) -> tuple[int, float]:
        """Calls that are asked again after a kill, and the seconds by which a round is longer."""
        before = statistics.median([self._round()[0] for _ in range(TURN)])
        pool: Any = self.grid._pool
        calls = len(pool._keeper.logs[pool.home[client]].entries)
        self.grid.kill(client)
        return calls, self._round()[0] - before

    def _round(self) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        done = next(self._rounds)
        if done.participants != self.clients:
            raise RuntimeError(f"{done.participants} of {self.clients} clients took part; {done.first}")
        return time.perf_counter() - wall, time.process_time() - cpu


def _figures(heals: Run, plain: Run, kills: list[tuple[int, float]], keeper: Any) -> dict[str, Any]:
    return {
        "rounds": len(heals.wall),
        "round_ms": 1e3 * statistics.median(plain.wall),
        "log_ratio": statistics.median(heals.wall) / statistics.median(plain.wall),
        "ratio": sum(heals.wall) / sum(plain.wall),
        "driver_cpu_ratio": statistics.median(heals.cpu) / statistics.median(plain.cpu),
        "images": keeper.taken,
        "images_seconds": keeper.seconds,
        "images_share": keeper.seconds / sum(heals.wall),
        "log_bytes": keeper.nbytes,
        "heal": [{"calls_again": calls, "seconds": seconds} for calls, seconds in kills],
    }


if __name__ == "__main__":
    print(json.dumps(measure(world(), seconds=10.0 if "--quick" in sys.argv else 120.0), indent=2))
