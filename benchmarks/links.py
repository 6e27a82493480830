"""Are simulated rounds as long as real ones? `python -m benchmarks.links [--quick] [--json] [--keep DIR]`

Three real nodes with TLS and node keys stand behind links of known rate and delay (benchmarks/throttle.py). They record
themselves in one run; the profile that comes of it is then asked how long the rounds of that run, and of others that it
has not seen, take, and these are run on the same links.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import scenarios
from benchmarks.throttle import Throttle
from fl_ef21.devices.profile import load, save
from scenarios import deploy
from scenarios.loading import parse

LINKS = ((60_000.0, 500_000.0, 0.06), (125_000.0, 125_000.0, 0.04), (250_000.0, 1_000_000.0, 0.02))  # up, down, latency
NODES = len(LINKS)
SEEN = "recorded: topk 5 %"
RUNS = {
    SEEN: {"compressor": "topk", "fraction": 0.05},
    "topk 0.5 %": {"compressor": "topk", "fraction": 0.005},
    "uncompressed": {"compressor": "identity"},
}
SCENARIO = """
name = "links"
rounds = {rounds}
seed = 1
partition = {{ clients = {nodes}, scheme = "iid" }}
model = {{ name = "mlp", hidden = [400] }}
train = {{ batch_size = 32 }}
evaluate = {{ every = 1, audit = false }}
engine = {{ actors = 0 }}
method = [{{ name = "ef21-sgdm", eta = 0.3, gamma = 0.2, {method} }}]
"""


@dataclass(frozen=True)
class Times:
    """Seconds of each round of one run but the first, which warms up."""

    real: list[float]
    virtual: list[float]

    @property
    def error(self) -> float:
        """Of the mean virtual round, relative to the mean real one."""
        return statistics.mean(self.virtual) / statistics.mean(self.real) - 1


def text(method: dict[str, Any], rounds: int) -> str:
    """A scenario, as TOML."""
    words = ", ".join(f"{key} = {json.dumps(value)}" for key, value in method.items())
    return SCENARIO.format(rounds=rounds, nodes=NODES, method=words)


@contextmanager
def fleet(folder: Path, recording: bool) -> Iterator[Path]:
    """Three nodes behind their links, and their SuperLink; all are ended."""
    if not folder.exists():
        deploy.init(folder, nodes=NODES, port=free_port())
    port = json.loads((folder / "deploy.json").read_text())["port"]
    with ExitStack() as stack:
        for i, (up, down, latency) in enumerate(LINKS):
            link = stack.enter_context(Throttle(port, up, down, latency))
            program = f"fl-ef21 devices record --out profile.toml --name node-{i}" if recording else "fl-ef21 node"
            lines = f'SUPERLINK={link.address}\nNODE_PROGRAM="{program}"\n'
            (folder / "nodes" / str(i) / "env").write_text(lines)
        stack.callback(deploy.down, folder)
        deploy.up(folder, say=lambda words: print(words, file=sys.stderr, flush=True))
        yield folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def measured(folder: Path, method: dict[str, Any], rounds: int, out: Path) -> tuple[list[float], float]:
    """Seconds of each real round, and what the server took of one."""
    out.with_suffix(".toml").write_text(text(method, rounds))
    deploy.run(folder, out.with_suffix(".toml"), out=out, sets=["durability=memory"])
    result = scenarios.Result.load(out)
    server = result.summary["methods"][0]["server_seconds"]
    return differences(result.rounds["wall_seconds"].tolist()), server


def foretold(method: dict[str, Any], rounds: int, profile: Path, server: float) -> list[float]:
    """Virtual seconds of each simulated round."""
    devices = f"[devices]\nprofile = {json.dumps(str(profile))}\nserver_seconds = {server}\n"
    wanted = text(method, rounds) + devices
    return differences(scenarios.run(parse(wanted)).rounds["virtual_seconds"].tolist())


def differences(cumulative: Sequence[float]) -> list[float]:
    """Of each round but the first."""
    return [b - a for a, b in pairwise(cumulative[1:])]


def collect(folder: Path, rounds: int) -> tuple[dict[str, Times], Path, float]:
    """All runs, real and virtual, the profile, and what the server took of a round when it was recorded."""
    real, home = dict[str, list[float]](), folder / "fleet"
    with fleet(home, recording=True):
        real[SEEN], server = measured(home, RUNS[SEEN], rounds, folder / "run-0")
    profile = folder / "profile.toml"
    save(profile, [one for i in range(NODES) for one in load(home / "nodes" / str(i) / "profile.toml")])
    with fleet(home, recording=False):
        for number, (name, method) in enumerate(RUNS.items()):
            if name != SEEN:
                real[name], _ = measured(home, method, rounds, folder / f"run-{number}")
    return {name: Times(real[name], foretold(RUNS[name], rounds, profile, server)) for name in RUNS}, profile, server


def told(times: dict[str, Times], profile: Path) -> Iterator[str]:
    """The table."""
    yield "| run | real round, s | virtual round, s | error |\n|---|---|---|---|"
    for name, one in times.items():
        real, virtual = (f"{statistics.mean(s):.2f} ({min(s):.2f} to {max(s):.2f})" for s in (one.real, one.virtual))
        yield f"| {name} | {real} | {virtual} | {one.error:+.1%} |"
    yield "\n| link | up, B/s | down, B/s | latency, s | recorded: up | down | latency | step, s | overhead, s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for link, one in zip(LINKS, load(profile), strict=True):
        rates = f"{one.up_bytes_per_second:.0f} | {one.down_bytes_per_second:.0f} | {one.latency_seconds:.3f}"
        given = " | ".join(f"{value:g}" for value in link)
        yield f"| {one.name} | {given} | {rates} | {one.step_seconds:.3f} | {one.overhead_seconds:.3f} |"


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.links", description="Real rounds beside virtual ones.")
    ask.add_argument("--quick", action="store_true", help="8 rounds instead of 20")
    ask.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    ask.add_argument("--keep", type=Path, metavar="DIR", help="where the fleet, runs and the profile stay")
    given = ask.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="fl-ef21-links-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        times, profile, server = collect(folder, 8 if given.quick else 20)
        if given.json:
            print(json.dumps({name: vars(one) | {"error": one.error} for name, one in times.items()}, indent=2))
        else:
            print("\n".join(told(times, profile)))
            print(f"\nthe server took {server:.2f} s of a round")
            print(f"{time.monotonic() - began:.0f} s, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
