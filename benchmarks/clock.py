"""What the virtual clock costs. `python -m benchmarks.clock [--rounds N] [--repeat N]`

The same run without [devices] and with it, in turn, in one process; timed from the end of round 1 to that of the last
but one, all that happens in between included. Prints medians, and their ratio for each profile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import scenarios
from scenarios.progress import Progress, Silent
from scenarios.schema import Scenario

CLIENTS = 1000
PROFILES = ("uniform", "phones-lognormal", "phones-2020")
CASES = {"digits, d = 650": {"features": 64, "classes": 10}, "d = 7,850": {"features": 784, "classes": 10}}


def scenario(case: dict[str, int], rounds: int, profile: str | None) -> Scenario:
    """Everybody in every round, so that a round has as many devices as it can."""
    base: dict[str, Any] = {
        "name": "clock", "rounds": rounds, "data": {"source": "synthetic", "samples": 12_500} | case,
        "partition": {"clients": CLIENTS}, "train": {"batch_size": 10, "start": "zero"},
        "method": [{"name": "ef21-sgdm", "eta": 0.2, "gamma": 0.2, "compressor": "topk", "fraction": 0.01}],
        "evaluate": {"every": rounds, "audit": False}, "engine": {"actors": 0},
    }  # fmt: skip
    devices = {} if profile is None else {"devices": {"profile": profile, "step_seconds": 0.05}}
    return Scenario.model_validate(base | devices)


class Stopwatch(Silent):
    """When each round was over."""

    def __init__(self) -> None:
        self.over = dict[int, float]()

    def round(self, progress: Progress) -> None:
        self.over[progress.round] = time.perf_counter()


def seconds(one: Scenario) -> float:
    """Of a round."""
    watch = Stopwatch()
    scenarios.run(one, listener=watch)
    return (watch.over[one.rounds - 1] - watch.over[1]) / (one.rounds - 2)


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.clock", description="What the virtual clock costs.")
    ask.add_argument("--rounds", type=int, default=40)
    ask.add_argument("--repeat", type=int, default=5)
    given = ask.parse_args()
    print(f"{CLIENTS} clients in every round, one process, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| case | profile | without, ms a round | with, ms a round | ratio |\n|---|---|---|---|---|")
    for name, case in CASES.items():
        for profile in PROFILES:
            pairs = [
                (seconds(scenario(case, given.rounds, None)), seconds(scenario(case, given.rounds, profile)))
                for _ in range(given.repeat)
            ]
            without, with_it = (1e3 * statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            print(f"| {name} | {profile} | {without:.1f} | {with_it:.1f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
