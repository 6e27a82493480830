"""How the resident engine's time grows: `python -m benchmarks.growth [--quick] [--json] [AXIS ...]`.

    clients     10 to 100,000 at d = 850: state is four vectors a client, which at d = 7,850 would take 12.6 GB
    dim         1,000 to 10,000,000, 8 clients, gradients that cost next to nothing
    actors      1, 2 and 4, where there are as many cores; 1,000 clients, d = 7,850
    fraction    k / d of TopK from 0.001 to 0.3; 200 clients, d = 7,850

A point is a process of its own. `worst` is the largest ratio of microseconds between a point and the one
before: per client along `clients`, per client and coordinate along `dim`; above 1 is growth beyond linear.
Along the others, time per client itself.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.cases import Case, World, quadratic, softmax

AXES = ("clients", "dim", "actors", "fraction")
Point = dict[str, Any]


def worlds(axis: str, quick: bool) -> list[tuple[float, World]]:
    """Where along an axis, and what is measured there."""

    def case(asked: int, rounds: int) -> list[Case]:
        return [Case("growth", asked, max(3, rounds // (3 if quick else 1)), 0)]

    if axis == "clients":
        return [
            (10**e, softmax(f"clients_{10**e}", 10**e, 84, case(10**e, max(3, 10 ** (5 - e)) if e > 2 else 100)))
            for e in range(1, 5 if quick else 6)
        ]
    if axis == "dim":
        return [
            (10**e, quadratic(f"dim_{10**e}", 8, 10**e, case(8, 100 if e < 6 else 10)))
            for e in range(3, 7 if quick else 8)
        ]
    if axis == "actors":
        return [
            (a, softmax(f"actors_{a}", 1000, 784, case(1000, 15), actors=a))
            for a in (1, 2, 4)
            if a <= (os.cpu_count() or 1)
        ]
    return [
        (f, softmax(f"fraction_{f}", 200, 784, case(200, 30), fraction=f))
        for f in ((0.001, 0.01, 0.1, 0.3) if quick else (0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
    ]


def points(quick: bool) -> list[World]:
    """The worlds of all axes."""
    return [world for axis in AXES for _, world in worlds(axis, quick)]


def measure(at: float, world: World, quick: bool) -> Point:
    from benchmarks.processes import tell_of

    (got,) = tell_of("benchmarks.side", world.name, "resident", *(["--quick"] if quick else []))
    return {
        "at": at,
        "clients": world.clients,
        "dim": world.dim,
        "us_per_client": 1e6 / got["clients_per_second"],
        **{key: got[key] for key in ("clients_per_second", "slowest", "fastest", "peak_mib")},
    }


def worst(axis: str, along: Sequence[Point]) -> float:
    """The largest ratio between neighbours; 1 where there are none."""
    each = [p["us_per_client"] / (p["dim"] if axis == "dim" else 1) for p in along]
    return max((b / a for a, b in pairwise(each)), default=1.0)


def text(axis: str, point: Point) -> str:
    return (
        f"{axis} {point['at']:<10g} {point['clients_per_second']:10,.0f} clients/s "
        f"({point['slowest']:,.0f} to {point['fastest']:,.0f})  {point['us_per_client']:12,.1f} us per client "
        f"{point['peak_mib']:9,.0f} MiB"
    )


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.growth", description="Growth curves of our engine.")
    ask.add_argument("--quick", action="store_true", help="fewer and smaller points")
    ask.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    ask.add_argument("axes", nargs="*", metavar="AXIS", help=f"some of {', '.join(AXES)}; all without")
    given = ask.parse_args()
    if unknown := [axis for axis in given.axes if axis not in AXES]:
        ask.error(f"there is no axis {unknown[0]!r}; axes are {', '.join(AXES)}")
    curves: dict[str, Any] = {}
    for axis in given.axes or AXES:
        along = []
        for at, world in worlds(axis, given.quick):
            along.append(measure(at, world, given.quick))
            if not given.json:
                print(text(axis, along[-1]), flush=True)
        curves[axis] = {"points": along, "worst": worst(axis, along)}
        if not given.json:
            unit = "us per client and coordinate" if axis == "dim" else "us per client"
            print(f"{axis}: {unit} grows by {curves[axis]['worst']:.2f} between neighbours at the most\n", flush=True)
    if given.json:
        print(json.dumps(curves, indent=2))


if __name__ == "__main__":
    main()
