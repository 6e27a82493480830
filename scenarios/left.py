"""What an earlier start left of a run: which methods are over, and where the next start goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fl_ef21.cut import Cut
from scenarios.lasting import Lasting
from scenarios.recorder import ROUNDS, SHADOW, Past, read_lines
from scenarios.run_file import RunFile
from scenarios.schema import Scenario
from scenarios.tally import Outcome, Row

Key = Callable[[Row], tuple[int, ...]]


@dataclass(frozen=True)
class Left:
    """Attributes:
    outcomes: of the methods that are over, in their order; the next one goes on.
    cut: its newest good one, None where it begins anew.
    until: the last of its rounds that stays; -1 where none does, not even what was measured before the first.
    past: rows of the run folder that stay.
    """

    outcomes: tuple[Outcome, ...]
    cut: Cut | None
    until: int
    past: Past

    @property
    def number(self) -> int:
        """Of the method that goes on."""
        return len(self.outcomes)

    @classmethod
    def of(cls, run: RunFile, scenario: Scenario, lasting: Lasting, redo: bool) -> Left:
        """`redo`: rounds after the cut are taken from the journal, where clients keep state of their own."""
        number = next(i for i in range(len(scenario.method) + 1) if str(i) not in run.finished)
        cut = lasting.newest(number) if number < len(scenario.method) else None
        until = -1 if cut is None else int(cut.about["round"])
        if redo and lasting.journal is not None and (last := lasting.journal.last(number)) > 0:
            until = max(until, last)
        past = _past(run, scenario, lasting, number, until)
        ended = [run.finished[str(i)] for i in range(number)]
        rows = [rows_of(past.rows, method.label) for method in scenario.method]
        return cls(tuple(Outcome.of(note, rows[i]) for i, note in enumerate(ended)), cut, until, past)


def rows_of(rows: Sequence[Row], label: str, until: int | None = None) -> list[Row]:
    """Of one method, up to a round."""
    return [row for row in rows if row["method"] == label and (until is None or row["round"] <= until)]


def _past(run: RunFile, scenario: Scenario, lasting: Lasting, number: int, until: int) -> Past:
    """Rows by the journal, and where it has none by the folder's files."""
    labels = {method.label: i for i, method in enumerate(scenario.method)}
    every = scenario.evaluate.every

    def stays(row: Row) -> bool:
        method, round = labels.get(row["method"], number + 1), row["round"]
        due = round % every == 0 or round == scenario.rounds  # not where it was interrupted
        return method < number or (method == number and round <= until and due)

    notes = list(_notes(lasting, number))

    def merged(name: str, kind: str, key: Key) -> list[Row]:
        found = {key(row): row for row in read_lines(run.folder / name) if stays(row)}
        found |= {key(row): row for note in notes for row in note[kind] if stays(row)}
        return [found[at] for at in sorted(found)]

    words = {word: i for i, word in enumerate(["own", *scenario.shadow])}
    return Past(
        merged(ROUNDS, "rows", lambda row: (labels[row["method"]], row["round"])),
        merged(SHADOW, "shadows", lambda row: (labels[row["method"]], row["round"], words[row["shadow"]])),
    )


def _notes(lasting: Lasting, number: int) -> Iterator[dict[str, Any]]:
    for method in range(number + 1) if lasting.journal is not None else ():
        for _, _, note in lasting.journal.rounds(method):  # type: ignore[union-attr]
            yield note
