"""Shards and where they run: in Ray actors (`ray_pool.py`), or in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flwr.clientapp import ClientApp

from fl_ef21.engine.blocks import split as split
from fl_ef21.engine.keeper import Keep as Keep
from fl_ef21.engine.keeper import Keeper
from fl_ef21.engine.local import Local
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

    @property
    def blocks(self) -> Sequence[range]:
        """The clients of each shard as they were dealt in the beginning."""
        ...

    def begin(self) -> None:
        """Messages are about to be submitted: lost shards are started again, images are taken, clients may move."""
        ...

    def submit(self, shard: int, method: str, *args: Any) -> Any:
        """A handle for `collect`."""
        ...

    def share(self, value: Any) -> Any:
        """A value that many calls will take, stored once."""
        ...

    def collect(self, handle: Any, timeout: float | None) -> Any:
        """The result. Raises: TimeoutError, Gone where there will be none, or ShardLost."""
        ...

    def kill(self, shard: int) -> None:
        """Its process dies at once, whatever it is doing."""
        ...

    def close(self) -> None: ...


def open_pool(
    settings: Settings, clients: int, tile: int, batched: Build | None, app: ClientApp | None,
    run_config: dict[str, Any], costs: Costs | None = None, keep: Keep | None = None,
) -> Pool:  # fmt: skip
    """The shards, built and ready. `batched` makes the batched form for a block of clients.

    keep: what is kept for shards of the batched form that die; None lets their clients' state die too.
    Raises: InputError where the actors find no room or cannot be built.
    """
    known = costs() if costs is not None else None
    keep = None if batched is None else keep

    def start(block: range) -> tuple[Any, ...]:
        form = batched(block) if batched is not None else None
        return form, app, block, run_config, clients, settings.threads, settings.gpus_per_actor

    if settings.actors != 0:
        from fl_ef21.engine.healing import open_ray

        return open_ray(settings, lambda actors: split(clients, actors, tile, known), start, batched is None, keep)
    everybody = split(clients, 1, tile, known)
    return Local(lambda: Shard(*start(everybody[0])), everybody[0], None if keep is None else Keeper(1, keep))
