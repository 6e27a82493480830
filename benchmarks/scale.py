"""Two large populations on one small machine: clients per second, and memory over the whole run.

    python -m benchmarks.scale [--json] [--rounds N] {clients-100000,d1e6-1000}

Memory is the proportional set size of the command and all it starts, sampled every second. What the kernel keeps of
mapped files besides is told apart: it gives that up when somebody needs the room.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.memory import resident
from scenarios.loading import to_toml
from scenarios.schema import Scenario

GiB = 2**30
CASES: dict[str, dict[str, Any]] = {
    # 11.7 GiB of state in memory, everybody every round
    "clients-100000": {
        "data": {"source": "synthetic", "samples": 202_000, "features": 784, "classes": 10, "test_fraction": 0.01},
        "partition": {"clients": 100_000}, "train": {"batch_size": 2, "start": "zero"},
        "engine": {"actors": 2, "state": "host"},
    },
    # 14.9 GiB of state in files, of which 4 GiB are in memory; a tenth of the clients every round
    "d1e6-1000": {
        "data": {"source": "synthetic", "samples": 2_000, "features": 9_999, "classes": 100, "test_fraction": 0.0},
        "partition": {"clients": 1_000}, "train": {"batch_size": 2, "start": "zero", "participation": 0.1},
        "engine": {"actors": 2, "state": "mapped", "memory_gib": 4.0},
    },
}  # fmt: skip
METHOD = {"name": "ef21-sgdm", "eta": 0.1, "gamma": 0.05, "compressor": "topk", "fraction": 0.01, "values": "exact"}


@dataclass(frozen=True)
class Sample:
    """Bytes at one moment: of the processes, and of files in the kernel's page cache."""

    processes: int
    cache: int


def scenario(case: str, rounds: int) -> Scenario:
    """No audits: an audit brings an uncompressed vector of every client to the server at once."""
    return Scenario.model_validate(CASES[case] | {
        "name": case, "rounds": rounds, "model": {"name": "logistic", "bias": True}, "method": [METHOD],
        "evaluate": {"every": 10**6, "audit": False},
    })  # fmt: skip


def page_cache() -> int:
    """Bytes of files on disks that the kernel keeps, whoever read or wrote them; shared memory left out."""
    text = Path("/proc/meminfo").read_text()
    cached, shared = (re.search(rf"^{name}: +(\d+) kB", text, re.MULTILINE) for name in ("Cached", "Shmem"))
    assert cached is not None and shared is not None
    return (int(cached[1]) - int(shared[1])) * 1024


def watch(process: subprocess.Popen[str], every: float = 1.0) -> list[Sample]:
    """Samples until the process ends."""
    before, curve = page_cache(), list[Sample]()
    while process.poll() is None:
        curve.append(Sample(resident(process.pid), page_cache() - before))
        time.sleep(every)
    return curve


def measure(case: str, rounds: int) -> dict[str, Any]:
    """Run a case as a person would, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fl-ef21-scale-") as name:
        folder = Path(name)
        (folder / "scenario.toml").write_text(to_toml(scenario(case, rounds)))
        words = ["-m", "scenarios.cli", "run", str(folder / "scenario.toml"), "--out", str(folder / "run")]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, text=True)
            curve = watch(process)
        if process.returncode != 0:
            raise SystemExit(f"{case} failed:\n{(folder / 'log').read_text()[-3000:]}")
        summary = json.loads((folder / "run" / "summary.json").read_text())
    (method,) = summary["methods"]
    return {
        "case": case, "rounds": method["rounds"], "clients_per_second": method["clients_per_second"],
        "round_seconds": method["wall_seconds"] / method["rounds"],
        "foretold_bytes": summary["memory"]["here_bytes"] + summary["memory"]["needed_bytes"],
        "state": summary["memory"]["state"], "state_bytes": summary["memory"]["state_bytes"],
        "peak_bytes": max(sample.processes for sample in curve),
        "cache_growth_bytes": max(sample.cache for sample in curve),
        "quarters": [quartiles([sample.processes for sample in part]) for part in quarters(curve)],
        "curve": [sample.processes for sample in curve],
    }  # fmt: skip


def quarters(curve: list[Sample]) -> list[list[Sample]]:
    """A curve in four parts of equal length."""
    cuts = [len(curve) * part // 4 for part in range(5)]
    return [curve[a : max(b, a + 1)] for a, b in pairwise(cuts)]


def quartiles(values: list[int]) -> list[float]:
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [float(values[0])] * 3


def show(got: dict[str, Any]) -> None:
    def gib(key: str) -> str:
        return f"{got[key] / GiB:.1f} GiB"

    speed = f"{got['clients_per_second']:,.0f} clients/s, {got['round_seconds']:.1f} s a round"
    print(f"{got['case']}: {got['rounds']} rounds, {speed}")
    print(f"  state {gib('state_bytes')} ({got['state']}); foretold {gib('foretold_bytes')}, peak {gib('peak_bytes')}")
    print(f"  the page cache grew by {gib('cache_growth_bytes')}")
    for number, values in enumerate(got["quarters"], 1):
        low, middle, high = (value / GiB for value in values)
        print(f"  quarter {number} of the run: {low:.2f}, {middle:.2f}, {high:.2f} GiB (quartiles)")


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    got = measure(asked.case, asked.rounds)
    print(json.dumps(got, indent=2)) if asked.json else show(got)


if __name__ == "__main__":
    main()
