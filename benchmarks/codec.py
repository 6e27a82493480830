"""Our wire format beside others and beside the bound.

    python -m benchmarks.codec [--quick] [--json] [--mnist FOLDER] [--only sizes|speed]

    sizes     uniform supports, and messages of EF21-SGDM clients with and without dead inputs (`codec_messages`);
              how index, value and framing bytes are told apart stands in `codec_sides`, the bounds in `codec_sizes`
    speed     encoding, decoding and summing, on one thread (`codec_speed`)
    targets   what was asked for, and what was reached (`codec_targets`)

The rivals need the extra `bench`; those that are not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.codec_messages import real_messages, uniform_messages
from benchmarks.codec_rivals import rivals
from benchmarks.codec_sides import measure
from benchmarks.codec_speed import speeds
from benchmarks.codec_targets import targets
from benchmarks.codec_text import sizes_text, speed_text, targets_text
from benchmarks.environment import environment, line
from fl_ef21.engine.shard import keep_memory
from fl_ef21.threads import computing_with

Row = dict[str, Any]
PARTS = ("sizes", "speed")


def collect(quick: bool, mnist: Path | None, parts: Sequence[str], say: Callable[[str], None]) -> Row:
    """Measures everything; `say` is given text as it becomes known."""
    beside, absent = rivals()
    table: Row = {"environment": environment() | {"torch_threads": 1}, "absent": absent}
    table["environment"]["rivals"] = {n: version(n) for n in ("pcodec", "zstandard", "pyroaring") if _here(n)}
    say(line(table["environment"]))
    for name, why in absent.items():
        say(f"without {name}: {why}")
    table |= {"uniform": [], "real": [], "speed": []}
    if "sizes" in parts:
        table["uniform"] = [measure(message, beside) for message in uniform_messages(quick)]
        say(sizes_text("uniform supports, Laplace's tails", table["uniform"]))
        for live in (False, True):
            found = real_messages(mnist, live, quick)
            rows = [{"data": data, "live": live, **measure(message, beside)} for data, message in found]
            say(sizes_text(f"EF21-SGDM messages, {rows[0]['data']}", rows))
            table["real"] += rows
    if "speed" in parts:
        table["speed"] = speeds(quick)
        say(speed_text(table["speed"]))
    table["targets"] = targets(table["uniform"], table["real"], table["speed"])
    say(targets_text(table["targets"]))
    return table


def _here(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks.codec", description="The wire format beside others.")
    ask.add_argument("--quick", action="store_true", help="without the largest messages")
    ask.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    ask.add_argument("--mnist", type=Path, help="folder of MNIST's four idx files; digits enlarged without")
    ask.add_argument("--only", choices=PARTS, help="one part of the table")
    given = ask.parse_args()
    say = (lambda text: None) if given.json else (lambda text: print(text, flush=True))
    keep_memory()  # as a run does
    with computing_with(1):
        table = collect(given.quick, given.mnist, [given.only] if given.only else PARTS, say)
    if given.json:
        print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
