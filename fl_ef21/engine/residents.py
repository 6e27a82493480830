"""The clients of an ordinary ClientApp that live in a shard: their contexts, and the seconds they take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flwr.app import Context, RecordDict


class Residents:
    """Contexts by client; one that is asked for and not here begins anew."""

    def __init__(
        self, clients: range, run_config: dict[str, Any], population: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._run_config, self._population, self._clock = run_config, population, clock
        self._contexts = {client: self._fresh(client) for client in clients}
        self._spent: dict[int, tuple[int, float]] = {}

    def _fresh(self, client: int) -> Context:
        return Context(
            run_id=1, node_id=client + 1, state=RecordDict(), run_config=dict(self._run_config),
            node_config={"partition-id": client, "num-partitions": self._population},
        )  # fmt: skip

    @contextmanager
    def busy(self, client: int) -> Iterator[Context]:
        """The client's context, for one message; the seconds count for the client, also where it raises."""
        if client not in self._contexts:
            self._contexts[client] = self._fresh(client)
        began = self._clock()
        try:
            yield self._contexts[client]
        finally:
            messages, seconds = self._spent.get(client, (0, 0.0))
            self._spent[client] = messages + 1, seconds + self._clock() - began

    def spent(self) -> dict[int, tuple[int, float]]:
        """Messages and seconds of each client that was busy since this was asked last."""
        told, self._spent = self._spent, {}
        return told

    def take(self, clients: Sequence[int]) -> list[tuple[int, Context]]:
        """Contexts that move away; a client that was never asked has none to move."""
        return [(client, self._contexts.pop(client)) for client in clients if client in self._contexts]

    def give(self, moved: Sequence[tuple[int, Context]]) -> None:
        """Contexts that move in."""
        self._contexts.update(moved)
