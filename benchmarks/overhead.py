"""What the resident engine costs beside the clients' arithmetic: `python -m benchmarks.overhead [--quick]`.

The engine runs in one process with one thread (actors = 0), so that CPU time of the process is all there
is. Of 1,000 clients at d = 7,850, rounds ask 10, 100 and 1,000. In each round

    overhead = CPU seconds of the round - CPU seconds inside the arithmetic

where arithmetic is what `SEAMS` names: gradients, and the method's step with its compressor and the
reading of its state. What is left: messages both ways, the protocol, staging, encoding, decoding, the
server's sum and step. The medians over rounds are fitted by a + b clients, each weighted by its inverse
so that all three count alike: b is the overhead per client, a the overhead per round. What Ray adds
between processes is not in it; the rounds of two actors in the table show that.
"""

from __future__ import annotations

import json
import secrets
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.cases import Case, World, softmax

# THE SEAM: methods of the Program, and of the Problem that it is given, inside which all is arithmetic. None of
# them may call another of them. Change this line when the program's inner methods change.
SEAMS = {"program": ("_step",), "problem": ("gradients",)}


@dataclass
class Clock:
    """CPU seconds spent in what it wraps."""

    seconds: float = 0.0

    def wrap(self, call: Any) -> Any:
        def timed(*args: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return call(*args, **named)
            finally:
                self.seconds += time.process_time() - began

        return timed


class Clocked:
    """An object some of whose methods are timed."""

    def __init__(self, inner: Any, methods: Sequence[str], clock: Clock) -> None:
        self._inner = inner
        for name in methods:
            setattr(self, name, clock.wrap(getattr(inner, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def clocked(program: Any, clock: Clock) -> Any:
    """The program with its arithmetic timed."""
    program.problem = Clocked(program.problem, SEAMS["problem"], clock)
    for name in SEAMS["program"]:
        setattr(program, name, clock.wrap(getattr(program, name)))
    return program


def world(clients: int = 1000, features: int = 784, quick: bool = False) -> World:
    """The population, and cases that ask a hundredth, a tenth and all of it."""
    rounds = {1: 5 if quick else 30, 10: 10 if quick else 60, 100: 15 if quick else 120}
    cases = [Case(f"ask_{clients // part}", clients // part, rounds[part], 0) for part in (100, 10, 1)]
    return softmax("overhead", clients, features, cases, actors=0)


def measure(world: World) -> dict[str, Any]:
    """The fit and, for each number of clients asked, microseconds a round in all and of arithmetic."""
    from fl_ef21.engine import RayGrid, Settings
    from fl_ef21.store import Memory
    from scenarios.setup import prepare

    setup, clock, points = prepare(world.scenario()), Clock(), []
    with RayGrid(
        world.clients, batched=lambda block: clocked(setup.program(block, Memory(block)), clock),
        settings=Settings(0), tile=setup.tile,
    ) as grid:  # fmt: skip
        for case in world.cases:
            strategy = setup.strategy(0, secrets.token_bytes(16))
            strategy.participation = case.asked / world.clients
            strategy.nodes.enrol(grid)
            whole, inside = list[float](), list[float]()
            clock.seconds, began = 0.0, time.process_time()
            for done in strategy.rounds(grid, case.rounds + 2):
                if done.participants != case.asked:
                    raise RuntimeError(f"{done.participants} of {case.asked} clients took part; {done.first}")
                whole.append(time.process_time() - began)
                inside.append(clock.seconds)
                clock.seconds, began = 0.0, time.process_time()
            strategy.retire(grid)
            points.append(_point(case.asked, whole[2:], inside[2:]))
    a, b = fit([p["clients"] for p in points], [p["overhead_us"] for p in points])
    return {"us_per_client": b, "ms_per_round": a / 1000, "points": points}


def _point(clients: int, whole: list[float], inside: list[float]) -> dict[str, float]:
    overhead = statistics.median([w - i for w, i in zip(whole, inside, strict=True)])
    return {
        "clients": clients,
        "round_us": 1e6 * statistics.median(whole),
        "arithmetic_us": 1e6 * statistics.median(inside),
        "overhead_us": 1e6 * overhead,
    }


def fit(n: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """a and b of y = a + b n, by least squares of relative errors."""
    w = 1 / np.asarray(y)
    a, b = np.linalg.lstsq(np.stack([w, w * n], axis=1), np.ones(len(w)), rcond=None)[0]
    return float(a), float(b)


if __name__ == "__main__":
    from benchmarks.side import MARK
    from fl_ef21.threads import computing_with

    with computing_with(1):
        print(MARK + json.dumps(measure(world(quick="--quick" in sys.argv))), flush=True)
