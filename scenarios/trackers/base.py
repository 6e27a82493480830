"""What a tracker is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from scenarios.units import finite


@dataclass(frozen=True)
class Run:
    """A run that begins, or goes on.

    Attributes:
      name: of the scenario.
      identity: the same for all starts of the run, of no other run; hexadecimal.
      folder: the run folder.
      scenario: the resolved scenario, as its TOML reads; `method` is a list of tables in the order of `methods`.
      methods: their labels.
      resumed: whether an earlier start told of some rounds already. Rounds after its last cut are told once more, with
        the same figures.
    """

    name: str
    identity: str
    folder: Path
    scenario: Mapping[str, Any]
    methods: tuple[str, ...]
    resumed: bool

    def settings(self, method: str) -> dict[str, Any]:
        """What the scenario says of one method and of all, flat, such as train.batch_size and method.eta."""
        mine = self.scenario["method"][self.methods.index(method)]
        return flat({**self.scenario, "method": mine})


class Tracker(Protocol):
    """Is told of one run. What it raises is told once, and then nobody calls it any more: no run ends by a tracker."""

    def start(self, run: Run) -> None:
        """Before the first round of this start."""
        ...

    def row(self, method: str, row: Mapping[str, Any]) -> None:
        """An evaluated round of one method, a line of rounds.jsonl."""
        ...

    def end(self, summary: Mapping[str, Any]) -> None:
        """The run folder is complete; summary.json."""
        ...


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite figures of a row, without its round."""
    found = {key: finite(value) for key, value in row.items() if key != "round"}
    return {key: value for key, value in found.items() if value is not None}


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables with dotted names."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return found
