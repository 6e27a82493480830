"""What makes a run outlast its process: every round in the journal, and now and then a cut of all that is held.

A cut holds the server (`CompressedStrategy.image`), what `Training` itself holds, and the state of the clients where
they are in the engine's memory. Clients that keep files of their own (Flower's runtimes) are brought to where the
server is by the protocol, so there the server goes on from the last round of the journal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from flwr.serverapp import Grid

from fl_ef21 import cut
from fl_ef21.cut import Cut
from fl_ef21.engine import RayGrid
from fl_ef21.errors import Refused
from fl_ef21.image import Image
from scenarios.cadence import Cadence
from scenarios.schema import Cuts
from scenarios.tally import Row
from scenarios.training import Training
from strategies.folding import fold
from strategies.journal import Journal

JOURNAL, CUTS = "journal.sqlite", "cuts"
SERVER, TRAINING, CLIENTS = "server", "training", "clients"
Warn = Callable[[str], None]


class Lasting:
    """Keeps a run in its folder.

    Attributes:
      journal: None with durability = "memory"; then cuts are taken only where they are asked for.
      term: of this start; clients follow no server that is older than they know.
    """

    def __init__(
        self, folder: Path, identity: bytes, wanted: Cuts, journal: Journal | None, warn: Warn, term: int = 1
    ) -> None:
        self.folder, self.identity, self.wanted, self.journal = folder / CUTS, identity, wanted, journal
        self.term = term if journal is None else journal.term
        self._warn = warn
        self._cadence = Cadence(wanted.every, time.monotonic())
        self._seldom = journal is None and wanted.every is None

    def commit(self, training: Training, note: Mapping[str, Any]) -> None:
        """A round is done; from here on it is never undone."""
        if self.journal is None:
            return
        done = training.strategy.commit()
        if not self.journal.commit(training.number, done, note):
            self._warn(
                f"{training.label}: round {done.round} gave other numbers than before the run was stopped, and what "
                "followed was dropped; a GPU, other threads or other versions do not round alike"
            )

    def cut(self, training: Training, grid: Grid, now: bool, before: Callable[[], None]) -> None:
        """Take a cut if one is due, or `now`; `before` is called first: it makes sure that the run folder is as far."""
        round, began = training.tally.round, time.monotonic()
        if not now and (self._seldom or not self._cadence.due(round, began)):
            return
        before()
        name = f"{training.number:04d}-{round:08d}"
        with cut.Writer(self.folder / name, durable=True) as writer:
            writer.add(SERVER, *training.strategy.image())
            writer.add(TRAINING, *training.image())
            if isinstance(grid, RayGrid):
                grid.save(lambda image: _add(writer, image))
            writer.seal({"identity": self.identity.hex(), "method": training.number, "round": round})
        kept = cut.keep(self.folder, first=1, last=self.wanted.keep_last)
        self._fold(training, [int(one.about["round"]) for one in kept if one.about["method"] == training.number])
        self._cadence.taken(began, time.monotonic())

    def _fold(self, training: Training, cuts: Sequence[int]) -> None:
        """Payloads that nobody will go on from are folded where that is smaller; the first cut is only looked at."""
        if self.journal is None:
            return
        strategy, before = training.strategy, cuts[-self.wanted.keep_last :][0]
        like = torch.zeros(strategy.dim, dtype=strategy.plan.dtype)
        forms, round = strategy.adder.forms, training.tally.round
        fold(self.journal, training.number, round, before, strategy.ledger, forms, like)

    def ledger_bytes(self, training: Training) -> int:
        """What is kept of the clients' payloads: in memory, and in the journal."""
        history = training.strategy.history
        kept = 0 if history is None else history.nbytes
        return kept + (0 if self.journal is None else self.journal.payload_bytes(training.number, training.tally.round))

    def newest(self, number: int) -> Cut | None:
        """The last good cut of a method."""
        return cut.newest(self.folder, self.identity, number)


def cut_before(folder: Path, identity: bytes, number: int, round: int) -> Cut | None:
    """The last good cut of a method that is earlier than a round."""
    earlier = [path for path in _cuts(folder, number) if int(path.name[5:]) < round]
    return _first_good(reversed(earlier), identity)


def cut_from(folder: Path, identity: bytes, number: int, round: int) -> Cut | None:
    """The first good cut of a method that is not earlier than a round."""
    return _first_good((path for path in _cuts(folder, number) if int(path.name[5:]) >= round), identity)


def _cuts(folder: Path, number: int) -> list[Path]:
    return sorted((folder / CUTS).glob(f"{number:04d}-*"))


def _first_good(paths: Iterable[Path], identity: bytes) -> Cut | None:
    for path in paths:
        try:
            if (found := cut.read(path)).about["identity"] == identity.hex():
                return found
        except Refused:
            continue
    return None


def restore(training: Training, found: Cut, rows: Sequence[Row]) -> None:
    """Server and training as they were at the cut, with the rows until then."""
    training.strategy.restore(*found.load(SERVER))
    training.restore(*found.load(TRAINING), rows)


def images(found: Cut) -> Iterator[Image]:
    """The state of the clients, piece by piece."""
    for name in found.names:
        if name.startswith(CLIENTS):
            yield Image.unpacked(*found.load(name))


def _add(writer: cut.Writer, image: Image) -> None:
    first, last = int(image.clients.min()), int(image.clients.max())
    writer.add(f"{CLIENTS}-{first}-{last}", *image.packed())
