"""A small run whose clients keep their state in files or in memory, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flwr.app import ConfigRecord

from fl_ef21.store import Memory, Store
from scenarios.setup import Setup, prepare
from strategies.flower import CompressedStrategy
from strategies.history import Kept
from tests.faulty_grid import FaultyGrid
from tests.small import scenario

N = 5
SGDM: dict[str, Any] = {"name": "ef21-sgdm", "eta": 0.3, "compressor": "topk", "k": 2}
SGD2M: dict[str, Any] = {"name": "ef21-sgd2m", "eta": 0.3, "compressor": "randk", "k": 2}
LOW_RANK: dict[str, Any] = {"name": "ef21-sgdm", "eta": 0.3, "compressor": "powersgd", "rank": 1}
EF14: dict[str, Any] = {"name": "ef14", "compressor": "topk", "k": 2}


def setup_of(method: dict[str, Any], *, clients: int = N, dim: int = 6, **train: Any) -> Setup:
    return prepare(
        scenario(
            method=[method | {"gamma": 0.1}], model={"name": "quadratic", "dim": dim, "bias": None},
            partition={"clients": clients, "scheme": "iid"}, train={"participation": 0.6, "dtype": "float64"} | train,
        )
    )  # fmt: skip


@dataclass
class Run:
    """A server with a history, and its clients behind a grid that loses nothing of itself."""

    setup: Setup
    store: Store = field(default_factory=lambda: Memory(range(N)))

    def __post_init__(self) -> None:
        self.grid = FaultyGrid(self.setup.problem.clients, self._program)
        self.strategy = self.server()

    def _program(self) -> Any:
        return self.setup.program(range(self.setup.problem.clients), self.store)

    def server(self, **options: Any) -> CompressedStrategy:
        """Another one, at its start."""
        strategy = self.setup.strategy(0, b"run")
        for name, value in options.items():
            setattr(strategy, name, value)
        origins = [strategy.ledger.origin(i, 0) for i in range(self.setup.problem.clients)]
        strategy.history = Kept(strategy.adder.forms, strategy.dim, strategy.plan.dtype, origins)
        return strategy

    def rounds(self, until: int) -> Iterator[int]:
        """Go on to this round, yielding after each."""
        for number in range(self.strategy.last.number + 1, until + 1):
            arrays = self.strategy.arrays
            messages = self.strategy.configure_train(number, arrays, ConfigRecord(), self.grid)  # type: ignore[arg-type]
            self.strategy.aggregate_train(number, self.grid.send_and_receive(messages))
            yield number

    def to(self, until: int) -> None:
        for _ in self.rounds(until):
            pass

    def error(self) -> float:
        """Of g against what the clients hold."""
        error = self.strategy.audit(self.grid)  # type: ignore[arg-type]
        assert error is not None
        return error
