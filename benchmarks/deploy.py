"""Seconds of a round in which there is nothing to compute, on real nodes: Flower's FedAvg loop and ours.

    python -m benchmarks.deploy [--rounds N] [--json] [--only plain|ours]

A SuperLink and three nodes on this machine, with TLS and node keys as `fl-ef21 deploy` makes them, once with Flower's
own SuperNode and once with `fl-ef21 node`. On the same nodes run, one after another and all from one app,
benchmarks/apps/loops: Flower's FedAvg; the same FedAvg, whose replies our loop collects; and our strategy with our
clients. FedAvg's client needs numpy alone, ours loads torch too: a plain SuperNode starts a process for every message.
The first round of each is left out: it brings the app to the nodes.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import environment
from scenarios import deploy
from scenarios.deploy import flower
from scenarios.deploy.layout import Fleet
from scenarios.deploy.submit import PACKAGES

APP = Path(__file__).resolve().parent / "apps" / "loops"
NODES = 3
LOOPS = {"fedavg": "Flower's FedAvg", "looked-at": "FedAvg by our loop", "ours": "our strategy"}
KINDS = {"plain": "flower-supernode", "ours": "fl-ef21 node"}
PATIENCE = 60.0  # seconds a round may take


@contextmanager
def fleet(plain: bool) -> Iterator[Fleet]:
    """Three nodes that are online; nothing of them is left."""
    with tempfile.TemporaryDirectory(prefix="fl-ef21-deploy-") as scratch:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        folder = Path(scratch) / "fleet"
        deploy.init(folder, NODES, port=port)
        try:
            yield deploy.up(folder, plain=plain, patience=300)
        finally:
            deploy.down(folder)


def seconds(at: Fleet, loop: str, rounds: int) -> list[float]:
    """Of each round but the first."""
    with tempfile.TemporaryDirectory(prefix="fl-ef21-loops-") as scratch:
        app, out = Path(scratch) / "loops", Path(scratch) / "seconds.json"
        shutil.copytree(APP, app, ignore=shutil.ignore_patterns("__pycache__"))
        for package in PACKAGES:
            shutil.copytree(flower.ROOT / package, app / package, ignore=shutil.ignore_patterns("__pycache__"))
        config = f'loop="{loop}" rounds={rounds + 1} clients={NODES} out="{out}"'
        told = flower.flwr(at, "run", str(app), at.name, "--run-config", config)
        deadline = time.monotonic() + PATIENCE * (rounds + 2)
        while not out.exists() or not out.read_text():
            if time.monotonic() > deadline:
                raise SystemExit(f"{LOOPS[loop]}: no result in time; {at.log('superlink')} of run {told['run-id']}")
            time.sleep(0.2)
        time.sleep(2.0)  # the run ends
        found: list[float] = json.loads(out.read_text())
        return found[1:]


def measure(rounds: int, kinds: Sequence[str]) -> dict[str, Any]:
    """By kind of node and loop: median, fastest and slowest round, and the median over FedAvg's."""
    found: dict[str, Any] = {"rounds": rounds}
    for kind in kinds:
        some = dict[str, list[float]]()
        with fleet(plain=kind == "plain") as at:
            for loop in LOOPS:
                some[loop] = seconds(at, loop, rounds)
                told = " ".join(f"{one:.2f}" for one in some[loop])
                print(f"{KINDS[kind]}, {LOOPS[loop]}: {told}", file=sys.stderr, flush=True)
        beside = median(some["fedavg"])
        found[kind] = {
            loop: {"median": median(all), "fastest": min(all), "slowest": max(all), "ratio": median(all) / beside}
            for loop, all in some.items()
        }
    return found


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no node is left
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 10
    kinds = [sys.argv[sys.argv.index("--only") + 1]] if "--only" in sys.argv else list(KINDS)
    facts = environment.environment()
    found = measure(rounds, kinds)
    if "--json" in sys.argv:
        print(json.dumps({"environment": facts} | found, indent=2))
        return
    print(environment.line(facts) + f"\n\nseconds a round, median of {rounds} (fastest to slowest), {NODES} nodes, TLS")
    for kind in kinds:
        for loop, words in LOOPS.items():
            print(f"{KINDS[kind]:18} {words:20} {tell(found[kind][loop])}")


def tell(one: dict[str, float]) -> str:
    return f"{one['median']:5.2f} s ({one['fastest']:.2f} to {one['slowest']:.2f})   {one['ratio']:.2f}x FedAvg"


if __name__ == "__main__":
    main()
