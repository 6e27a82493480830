"""Shards and where they run: in Ray actors, or in this process."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from flwr.clientapp import ClientApp

from fl_ef21.engine.shard import Batched, Shard
from fl_ef21.errors import InputError

Build = Callable[[range], Batched]


@dataclass(frozen=True)
class Settings:
    """What a simulation may use.

    Attributes:
      actors: Ray actors, >= 0; 0 computes in this process without Ray.
      cpus_per_actor, gpus_per_actor: may be fractions, so that several actors share a device.
    """

    actors: int = 2
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus_per_actor))


class Pool(Protocol):
    """Calls methods of numbered shards without waiting."""

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


def split(clients: int, shards: int, tile: int) -> list[range]:
    """Contiguous blocks of whole tiles, as even as they can be; empty blocks are left out."""
    tiles = math.ceil(clients / tile)
    cuts = [min(clients, tile * (tiles * s // shards)) for s in range(shards)] + [clients]
    return [range(a, b) for a, b in pairwise(cuts) if b > a]


class Local:
    """Shards in this process, called at once."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

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


class Ray:
    """Shards in Ray actors."""

    def __init__(self, settings: Settings, starts: Sequence[tuple[Any, ...]]) -> None:
        self._started = start_ray(settings, len(starts))
        import ray

        kind: Any = ray.remote(num_cpus=settings.cpus_per_actor, num_gpus=settings.gpus_per_actor)(Shard)
        self._actors: list[Any] = [kind.remote(*args) for args in starts]
        ray.get([actor.ready.remote() for actor in self._actors])

    def submit(self, shard: int, method: str, *args: Any) -> Any:
        return getattr(self._actors[shard], method).remote(*args)

    def share(self, value: Any) -> Any:
        import ray

        return ray.put(value)

    def collect(self, handle: Any, timeout: float | None) -> Any:
        import ray

        try:
            return ray.get(handle, timeout=timeout)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeoutError(str(error)) from error
        except ray.exceptions.RayActorError as error:
            raise ShardLost(f"a Ray actor has died: {error}") from error

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        if self._started:
            ray.shutdown()


def start_ray(settings: Settings, actors: int) -> bool:
    """Start Ray unless it runs already; True if it was started here.

    A local Ray counts as many CPUs as the actors want: more actors than cores are slow, not wrong.
    Raises: InputError where the actors cannot be placed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise InputError("engine.actors", actors, "needs Ray: pip install 'fl-ef21[sim]', or use 0") from error
    started = not ray.is_initialized()
    if started:
        cores = max(os.cpu_count() or 1, math.ceil(actors * settings.cpus_per_actor))
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    wants = {"CPU": actors * settings.cpus_per_actor, "GPU": actors * settings.gpus_per_actor}
    for name, field in (("CPU", "engine.cpus_per_actor"), ("GPU", "engine.gpus_per_actor")):
        if wants[name] > has.get(name, 0):
            if started:
                ray.shutdown()
            value = getattr(settings, field.partition(".")[2])
            raise InputError(
                field, value,
                f"{actors} actors need {wants[name]:g} {name}s and Ray has {has.get(name, 0):g}; "
                f"use fewer actors or a smaller fraction" + (", or 0 to compute on the CPU" if name == "GPU" else ""),
            )  # fmt: skip
    return started


def open_pool(
    settings: Settings, shards: Sequence[range], batched: Build | None, app: ClientApp | None,
    run_config: dict[str, Any],
) -> Pool:  # fmt: skip
    """The shards, built and ready. `batched` makes the batched form for a block of clients."""
    population = shards[-1].stop
    starts = [
        (batched(block) if batched else None, app, block, run_config, population, settings.threads)
        for block in shards
    ]  # fmt: skip
    if settings.actors == 0:
        return Local([Shard(*args) for args in starts])
    return Ray(settings, starts)
