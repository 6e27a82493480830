"""Clients per second and peak memory: the resident engine, Flower's simulation, a bare torch loop.

    python -m benchmarks.engine [--quick] [--json]

Each side runs in a process of its own, one after another; ratios are of medians over rounds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.cases import cases
from benchmarks.memory import Peak

SIDES = ("resident", "flower", "bare")


def measure(case: str, side: str, quick: bool) -> dict[str, Any]:
    """Run one side in its own process and watch its memory."""
    command = [sys.executable, "-m", "benchmarks.sides", case, side] + (["--quick"] if quick else [])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = Peak(process.pid)
    out, err = process.communicate()
    found = [line for line in out.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise SystemExit(f"{case} {side} failed:\n{err[-2000:]}")
    return json.loads(found[-1].removeprefix("RESULT ")) | {"peak_mib": peak.stop() / 2**20}


def main() -> None:
    quick, as_json = "--quick" in sys.argv, "--json" in sys.argv
    table: dict[str, Any] = {}
    for case in cases(quick):
        got = {side: measure(case.name, side, quick) for side in SIDES}
        ours = got["resident"]["clients_per_second"]
        table[case.name] = {
            "clients_per_second": ours,
            "vs_flower": ours / got["flower"]["clients_per_second"],
            "vs_bare_loop": ours / got["bare"]["clients_per_second"],
            "peak_mib": got["resident"]["peak_mib"],
            "sides": got,
        }
        if not as_json:
            show(case.name, table[case.name])
    if as_json:
        print(json.dumps(table, indent=2))


def show(name: str, row: dict[str, Any]) -> None:
    print(f"\n{name}: {row['vs_flower']:.1f}x Flower's simulation, {row['vs_bare_loop']:.2f}x the bare loop")
    for side, got in row["sides"].items():
        spread = f"{got['slowest']:,.0f} to {got['fastest']:,.0f}"
        print(f"  {side:9} {got['clients_per_second']:10,.0f} clients/s  ({spread})  {got['peak_mib']:7,.0f} MiB")


if __name__ == "__main__":
    main()
