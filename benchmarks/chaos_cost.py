"""What the commit protocol and validation cost: `python -m benchmarks.chaos_cost [--quick]`.

1,000 clients at d = 7,850, all of them asked, in one process with one thread. Two runs of one scenario take turns of a
few rounds: one keeps nothing on disk, the other writes every round to its journal, in one synchronous transaction. In
each round the seconds inside `seams` are taken: the blocks of instructions and replies on both sides, settling, hash
chains, staging, and the screening of payloads; for the run on disk also the digest and the journal.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, World, softmax

TURN, WARM = 3, 1  # rounds of one run before it is the other's turn; turns before the clock counts


def world(clients: int = 1000, features: int = 784) -> World:
    """Everybody is asked."""
    return softmax("chaos", clients, features, [Case("all", clients, 1, 0)], actors=0)


class Clock:
    """Seconds inside what it wraps, counted once where one such call is inside another."""

    def __init__(self) -> None:
        self.seconds, self._inside = 0.0, 0

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            began, self._inside = time.perf_counter(), self._inside + 1
            try:
                return call(*args, **named)
            finally:
                self._inside -= 1
                if not self._inside:
                    self.seconds += time.perf_counter() - began

        return timed


def seams() -> list[tuple[Any, str]]:
    """Where the protocol and validation are: owner and name. Change these when the program's inner parts change."""
    from clients import program
    from fl_ef21 import wire
    from fl_ef21.blocks import Points
    from fl_ef21.state import Rows
    from strategies.flower_post import Post
    from strategies.ledger import Ledger

    return [
        (program.Program, "_accept"), (program, "_settle"), (Rows, "stage"), (Points, "then"), (wire, "_screened"),
        (Post, "open"), (Ledger, "instruct"), (Ledger, "commit"), (Ledger, "close"),
    ]  # fmt: skip


@contextmanager
def clocked(clock: Clock) -> Iterator[None]:
    """All seams are timed meanwhile."""
    before = [(owner, name, getattr(owner, name)) for owner, name in seams()]
    for owner, name, call in before:
        setattr(owner, name, clock.wrap(call))
    try:
        yield
    finally:
        for owner, name, call in before:
            setattr(owner, name, call)


class Run:
    """One side. `journal`: where every round is written, None where it is not."""

    def __init__(self, setup: Any, grid: Any, clients: int, clock: Clock, journal: Any = None) -> None:
        self.clients, self.clock, self.journal = clients, clock, journal
        self.strategy = setup.strategy(0, b"disk" if journal else b"memory")
        self.wall, self.inside, self.kept = list[float](), list[float](), list[float]()
        self._rounds = self.strategy.rounds(grid, 10**6)

    def turn(self, counts: bool) -> None:
        for _ in range(TURN):
            began, self.clock.seconds = time.perf_counter(), 0.0
            done = next(self._rounds)
            computed = time.perf_counter()
            if done.participants != self.clients:
                raise RuntimeError(f"{done.participants} of {self.clients} clients took part; {done.first}")
            if self.journal is not None:
                self.journal.commit(0, self.strategy.commit(), {})
            ended = time.perf_counter()
            if counts:
                self.wall.append(ended - began)
                self.inside.append(self.clock.seconds)
                self.kept.append(ended - computed)


def measure(world: World, turns: int = 10) -> dict[str, Any]:
    """Shares of a round's wall time, medians over rounds; and seconds and bytes of what is kept."""
    from fl_ef21.engine import RayGrid, Settings
    from fl_ef21.store import Memory
    from scenarios.setup import prepare
    from strategies.journal import Journal

    setup, clock = prepare(world.scenario()), Clock()

    def grid() -> RayGrid:
        return RayGrid(
            world.clients, batched=lambda block: setup.program(block, Memory(block)), settings=Settings(0),
            tile=setup.tile,
        )  # fmt: skip

    with tempfile.TemporaryDirectory(prefix="fl-ef21-chaos-") as folder, clocked(clock), grid() as one, grid() as two:
        journal = Journal.open(Path(folder) / "journal.sqlite", bytes(16), create=True)
        runs = [Run(setup, one, world.clients, clock), Run(setup, two, world.clients, clock, journal)]
        for turn in range(WARM + turns):
            for run in runs if turn % 2 else runs[::-1]:
                run.turn(turn >= WARM)
        nbytes = journal.nbytes()
        journal.close()
    return figures(*runs, nbytes)


def figures(memory: Run, disk: Run, nbytes: int) -> dict[str, Any]:
    """What two runs come to."""
    rounds = len(disk.wall) + WARM * TURN
    share = [inside / wall for inside, wall in zip(memory.inside, memory.wall, strict=True)]
    both = [(inside + kept) / wall for inside, kept, wall in zip(disk.inside, disk.kept, disk.wall, strict=True)]
    return {
        "rounds": len(memory.wall),
        "round_ms": 1e3 * statistics.median(memory.wall),
        "memory_share": statistics.median(share),
        "disk_share": statistics.median(both),
        "disk_ratio": statistics.median(disk.wall) / statistics.median(memory.wall),
        "journal_ms": 1e3 * statistics.median(disk.kept),
        "journal_bytes_per_round": nbytes / rounds,
        "protocol_bytes": protocol_bytes(),
    }


def protocol_bytes() -> dict[str, int]:
    """Bytes on Flower's wire, per client and round, that are there for the block alone."""
    from fl_ef21 import flower_traffic
    from fl_ef21.commit import Block

    model, payload, block = 1 << 15, 1 << 9, Block.size
    asked = [flower_traffic.instruction(model, block=size) for size in (block, 0)]
    said = [flower_traffic.reply(payload, block=size) for size in (block, 0)]
    down, up = (int(getattr(asked[0], way) - getattr(asked[1], way)) for way in ("down", "up"))
    back = int(said[0].up - said[1].up)
    return {"down": down, "up": up + back, "total": down + up + back}


if __name__ == "__main__":
    from benchmarks.side import MARK
    from fl_ef21.threads import computing_with

    with computing_with(1):
        print(MARK + json.dumps(measure(world(), 3 if "--quick" in sys.argv else 10)), flush=True)
