"""Seconds of a round in which there is nothing to compute, on real nodes: Flower's FedAvg loop and ours.

    python -m benchmarks.deploy [--rounds N] [--json]

A SuperLink and three nodes on this machine, with TLS and node keys as `fl-ef21 deploy` makes them, once with Flower's
own SuperNode and once with `fl-ef21 node`. On the same nodes run, one after another, Flower's FedAvg and our strategy,
both from one app, benchmarks/apps/loops, whose client answers either at once. The first round of each is left out: it
loads the app.
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
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
LOOPS = {"fedavg": "Flower's FedAvg", "ours": "ours"}
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


def measure(rounds: int) -> dict[str, Any]:
    """By kind of node and loop: median, fastest and slowest round."""
    found: dict[str, Any] = {}
    for kind in KINDS:
        with fleet(plain=kind == "plain") as at:
            some = {loop: seconds(at, loop, rounds) for loop in LOOPS}
        found[kind] = {loop: {"median": median(all), "range": [min(all), max(all)]} for loop, all in some.items()}
        found[kind]["ratio"] = found[kind]["ours"]["median"] / found[kind]["fedavg"]["median"]
    both = found["ours"]["ours"]["median"] / found["plain"]["fedavg"]["median"]
    return found | {"together": both, "rounds": rounds}


def main() -> None:
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 10
    facts = environment.environment()
    found = measure(rounds)
    if "--json" in sys.argv:
        print(json.dumps({"environment": facts} | found, indent=2))
        return
    print(environment.line(facts) + f"\n\nseconds a round, median of {rounds} (fastest to slowest), {NODES} nodes, TLS")
    for kind, name in KINDS.items():
        cells = [f"{LOOPS[loop]} {tell(found[kind][loop])}" for loop in LOOPS]
        print(f"{name:18} {'   '.join(cells)}   ratio {found[kind]['ratio']:.2f}")
    print(f"\nour loop on fl-ef21 node beside Flower's on its own SuperNode: {found['together']:.2f}")


def tell(one: dict[str, Any]) -> str:
    fastest, slowest = one["range"]
    return f"{one['median']:5.2f} s ({fastest:.2f} to {slowest:.2f})"


if __name__ == "__main__":
    main()
