"""The server's side of a schedule: the real strategy, which may die and come back from what it had written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flwr.app import ConfigRecord, Message

from fl_ef21 import records
from fl_ef21.commit import Point
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.history import Kept
from strategies.rounds import Commit

EVERY = 3  # rounds between two images


class Server:
    """Attributes: strategy, done: rounds that are committed, refused: replies that were not used, by reason."""

    def __init__(self, setup: Setup, run: bytes = b"run") -> None:
        self.setup, self.run = setup, run
        self.strategy = self._start()
        self.done, self.refused = 0, dict[str, int]()
        self._image, self._since = self.strategy.image(), list[Commit]()

    def _start(self) -> CompressedStrategy:
        strategy = self.setup.strategy(0, self.run)
        if strategy.history is None:
            experiment, forms = strategy.ledger._experiment, strategy.adder.forms
            origins = [Point.origin(experiment, i) for i in range(strategy.clients)]
            strategy.history = Kept(forms, strategy.dim, strategy.plan.dtype, origins)
        return strategy

    def ask(self, grid: Any) -> list[Message]:
        """The instructions of the next round."""
        arrays = records.pack_model(self.strategy.descent.x)
        return list(self.strategy.configure_train(self.done + 1, arrays, ConfigRecord(), grid))

    def hear(self, replies: Sequence[Message]) -> Commit:
        """The round as it will be, once it is committed."""
        self.strategy.aggregate_train(self.done + 1, replies)
        for reason, count in self.strategy.last.refused.items():
            self.refused[reason] = self.refused.get(reason, 0) + count
        return self.strategy.commit()

    def commit(self, commit: Commit) -> None:
        """It is on disk."""
        self.done += 1
        self._since.append(commit)
        if self.done % EVERY == 0:
            self._image, self._since = self.strategy.image(), []

    def restart(self) -> None:
        """Another process goes on from the last image and the commits since."""
        term = self.strategy.ledger.term
        self.strategy = self._start()
        self.strategy.restore(*self._image)
        for commit in self._since:
            self.strategy.redo(commit)
        self.strategy.ledger.term = term + 1

    def digest(self) -> bytes:
        """Of x, g and all chains."""
        return self.strategy.digest()
