"""The whole table: `python -m benchmarks [--quick] [--json] [--cases a,b]`."""

from __future__ import annotations

import argparse
import json

from benchmarks.cases import names
from benchmarks.table import collect


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m benchmarks", description="Our engine beside its rivals.")
    ask.add_argument("--quick", action="store_true", help="fewer rounds")
    ask.add_argument("--json", action="store_true", help="one JSON object on standard output, and nothing else")
    ask.add_argument("--cases", default=",".join(names()), help="comma-separated; of one population all are measured")
    given = ask.parse_args()
    wanted = given.cases.split(",")
    if unknown := [name for name in wanted if name not in names()]:
        ask.error(f"there is no case {unknown[0]!r}; cases are {', '.join(names())}")
    table = collect(wanted, given.quick, (lambda text: None) if given.json else (lambda text: print(text, flush=True)))
    if given.json:
        print(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
