"""Shards and where they run: in Ray actors (`ray_pool.py`), or in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from flwr.clientapp import ClientApp

from fl_ef21.engine.blocks import split as split
from fl_ef21.engine.settings import Settings as Settings
from fl_ef21.engine.shard import Batched, Shard

Build = Callable[[range], Batched]
Costs = Callable[[], Any | None]  # (clients,) positive numbers, None where they are not known


class Pool(Protocol):
    """Calls methods of numbered shards without waiting."""

    @property
    def home(self) -> Sequence[int]:
        """The shard of each client; only `begin` changes it."""
        ...

    def begin(self) -> None:
        """Messages are about to be submitted: lost shards are started again, clients may move."""
        ...

    def submit(self, shard: int, method: str, *args: Any) -> Any:
        """A handle for `collect`."""
        ...

    def share(self, value: Any) -> Any:
        """A value that many calls will take, stored once."""
        ...

    def collect(self, handle: Any, timeout: float | None) -> Any:
        """The result. Raises: TimeoutError, or ShardLost where its process is gone."""
        ...

    def close(self) -> None: ...


class ShardLost(RuntimeError):
    """The process of a shard has died, and its clients' state with it."""


class Local:
    """Shards in this process, called at once."""

    def __init__(self, shards: Sequence[Shard], home: Sequence[int]) -> None:
        self._shards, self._home = shards, home

    @property
    def home(self) -> Sequence[int]:
        return self._home

    def begin(self) -> None:
        pass

    def submit(self, shard: int, method: str, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(getattr(self._shards[shard], method)(*args))
        return done

    def share(self, value: Any) -> Any:
        return value

    def collect(self, handle: Future[Any], timeout: float | None) -> Any:
        return handle.result()

    def close(self) -> None:
        pass


def open_pool(
    settings: Settings, clients: int, tile: int, batched: Build | None, app: ClientApp | None,
    run_config: dict[str, Any], costs: Costs | None = None,
) -> Pool:  # fmt: skip
    """The shards, built and ready. `batched` makes the batched form for a block of clients.

    Raises: InputError where the actors find no room or cannot be built.
    """
    known = costs() if costs is not None else None
    if settings.actors != 0:
        from fl_ef21.engine.ray_pool import open_ray

        def start(block: range) -> tuple[Any, ...]:
            form = batched(block) if batched is not None else None
            return form, app, block, run_config, clients, settings.threads, settings.gpus_per_actor

        return open_ray(settings, lambda actors: split(clients, actors, tile, known), start, movable=batched is None)
    everybody = split(clients, 1, tile, known)
    form = batched(everybody[0]) if batched is not None else None
    return Local([Shard(form, app, everybody[0], run_config, clients, settings.threads)], [0] * clients)
