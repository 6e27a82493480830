"""See a broken schedule again, with as few faults as break it:

python -m tests.protocol.replay --seed N              as tests/protocol/test_schedules.py draws it
python -m tests.protocol.replay --seed N --harmless   as tests/protocol/test_crashes.py does
python -m tests.protocol.replay --schedule 'JSON'     as it was printed, or stands in corpus.jsonl
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

from fl_ef21.threads import computing_with
from tests.protocol.play import play
from tests.protocol.schedule import Schedule, drawn, harmless

CORPUS = Path(__file__).parent / "corpus.jsonl"  # schedules that broke something once


def survive(seed: int) -> None:
    """Play what this seed draws. Raises: AssertionError with the command that plays it again."""
    if why := fault(drawn(seed)):
        raise AssertionError(f"{why}\n  see it again: python -m tests.protocol.replay --seed {seed}")


def unchanged(seed: int) -> None:
    """The same for what must change nothing, not a bit."""
    if why := change(harmless(seed)):
        raise AssertionError(f"{why}\n  see it again: python -m tests.protocol.replay --seed {seed} --harmless")


def fault(schedule: Schedule) -> str:
    """What is broken after this schedule, "" where nothing is."""
    try:
        play(schedule)
    except Exception as error:  # whatever the program raises is a fault, too
        return f"{type(error).__name__}: {error}"
    return ""


def change(schedule: Schedule) -> str:
    """What is broken, or what is another than where nothing went wrong."""
    try:
        played, expected = play(schedule), reference(schedule.undisturbed)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    got = played.server.digest(), played.updates
    return "" if got == expected else f"{got[1]} updates to {got[0].hex()}, not {expected[1]} to {expected[0].hex()}"


@cache
def reference(schedule: Schedule) -> tuple[bytes, int]:
    """The digest and the number of updates of a run."""
    played = play(schedule)
    return played.server.digest(), played.updates


def simplest(schedule: Schedule, broken: Callable[[Schedule], str]) -> Schedule:
    """Faults are left out one by one, as long as it is still broken."""
    for less in schedule.less():
        if broken(less):
            return simplest(less, broken)
    return schedule


def corpus() -> list[Schedule]:
    """What broke something once."""
    return [Schedule.read(line) for line in CORPUS.read_text().splitlines() if line]


def main() -> None:
    ask = argparse.ArgumentParser(prog="python -m tests.protocol.replay", description="A schedule of faults, again.")
    which = ask.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--schedule", help="one line of JSON")
    ask.add_argument("--harmless", action="store_true", help="only crashes and repetitions, which must change nothing")
    given = ask.parse_args()
    draw, broken = (harmless, change) if given.harmless else (drawn, fault)
    schedule = draw(given.seed) if given.schedule is None else Schedule.read(given.schedule)
    logging.getLogger("fl_ef21").setLevel(logging.ERROR)  # what is done on purpose need not be told
    with computing_with(1):
        why = broken(schedule)
        if why:
            schedule = simplest(schedule, broken)
    print(f"{schedule.world}, state {'in files' if schedule.disk else 'in memory'}")
    for number, step in enumerate(schedule.steps, 1):
        print(f"  round {number}: {step}")
    if why:
        raise SystemExit(f"broken: {broken(schedule)}\n{schedule.text()}")
    print("holds")


if __name__ == "__main__":
    main()
