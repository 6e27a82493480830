"""What `verify` and `audit` find: a line for each thing that was checked; and the run they look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fl_ef21.errors import InputError
from scenarios.lasting import JOURNAL
from scenarios.loading import parse
from scenarios.run_file import RunFile
from scenarios.setup import Setup, prepare
from strategies.journal import Journal


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes:
      method: its label.
      what: was checked.
      good: whether it is so.
      told: the figures, or what is wrong.
    """

    method: str
    what: str
    good: bool
    told: str


@contextmanager
def opened(folder: Path, elsewhere: bool = False) -> Iterator[tuple[RunFile, Setup, Journal]]:
    """A durable run, to be looked at; `elsewhere`: the samples need not be here.

    Raises: InputError where it has no journal, Refused where that is damaged.
    """
    run = RunFile.load(folder)
    path = folder / JOURNAL
    if not path.exists():
        advice = 'has no journal: the run was not durable; durability = "disk" keeps one'
        raise InputError("DIR", str(folder), advice)
    setup = prepare(parse(run.scenario), alone=run.runtime == "flower", elsewhere=elsewhere)
    journal = Journal.read(path, run.nonce)
    try:
        yield run, setup, journal
    finally:
        journal.close()
