"""Shards in Ray actors, spread over the nodes of a cluster; what is lost never holds up the others."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from fl_ef21.engine.balance import Balance, Moves
from fl_ef21.engine.log import Shared
from fl_ef21.engine.losses import Gone, gone, told
from fl_ef21.engine.memory import lacking
from fl_ef21.engine.reservation import Reservation
from fl_ef21.engine.settings import Settings
from fl_ef21.engine.shard import Shard
from fl_ef21.errors import InputError

AGAIN = 5.0  # seconds between two attempts to start a lost shard
SMALL = 1 << 16  # bytes; Ray itself stores arguments over 100 KiB
STARTING = 60.0  # seconds a shard may take to start again
log = logging.getLogger("fl_ef21")
Start = Callable[[range], tuple[Any, ...]]


class Call(NamedTuple):
    """A handle: `ref` is None where the shard was lost already."""

    shard: int
    actor: Any
    ref: Any


class RayPool:
    """A `Pool`. Actors and the room reserved for them are ours; Ray itself only if it was started here."""

    def __init__(
        self, settings: Settings, blocks: Sequence[range], start: Start, reserved: Reservation, *,
        movable: bool, leave: bool,
    ) -> None:  # fmt: skip
        """`start`: arguments of a block's Shard, made one block at a time so that the driver never holds all.

        movable: clients are bound to no shard by data. leave: disconnect from Ray at the end.
        """
        self._settings, self._start = settings, start
        self.blocks: Sequence[range] = blocks
        self._reserved, self._leave = reserved, leave
        self.home: list[int] = [shard for shard, block in enumerate(blocks) for _ in block]
        self._balance = Balance(self.home, len(blocks)) if movable and len(blocks) > 1 else None
        self._movable, self._asked, self._busy = movable, list[Call](), 0
        self._lost: dict[int, float] = {}  # shard: when to try again
        self._actors: list[Any] = []
        self._pids: dict[int, int] = {}  # shard: of its process, once it is ready
        try:
            self._actors += [self._actor(shard) for shard in range(len(blocks))]
            for shard in range(len(blocks)):
                self._ready(shard)
        except BaseException:
            self.close()
            raise

    def _actor(self, shard: int) -> Any:
        """A new actor in its reserved place; its arguments travel to its node alone."""
        import ray

        kind: Any = ray.remote(Shard)
        share = {"num_cpus": self._settings.cpus_per_actor, "num_gpus": self._settings.gpus_per_actor}
        placed = kind.options(**share, max_restarts=0, scheduling_strategy=self._reserved.place(shard))
        return placed.remote(*self._start(self.blocks[shard]))

    def _ready(self, shard: int) -> None:
        import ray

        ready = self._actors[shard].ready.remote()
        errors: tuple[type[BaseException], ...] = (TimeoutError, *gone())
        try:
            while not ray.wait([ready], timeout=5)[0] and self._reserved.usable(shard):
                pass
            self._pids[shard], room = ray.get(ready, timeout=0)
        except errors as error:
            advice = f"{self._name(shard)} could not be started: {told(error)}"
            raise InputError("engine.actors", len(self.blocks), advice) from error
        share = self._settings.gpus_per_actor
        if room is not None and (short := lacking(room, share)):
            log.warning(
                "%s may use %.1f GiB of its GPU, but others hold so much that %.1f GiB of it are missing; "
                "lower engine.gpus_per_actor or end other programs",
                self._name(shard), share * room.total / 2**30, short / 2**30,
            )  # fmt: skip

    def _name(self, shard: int) -> str:
        block = self.blocks[shard]
        return f"shard {shard} (clients {block.start} to {block.stop - 1})"

    def submit(self, shard: int, method: str, *args: Any) -> Any:
        if shard in self._lost:
            return Call(shard, None, None)
        self._busy += method == "call"
        actor = self._actors[shard]
        sent = [arg.ref if isinstance(arg, Shared) else arg for arg in args]
        return Call(shard, actor, getattr(actor, method).remote(*sent))

    def share(self, value: Any) -> Any:
        """The object store costs a round about 3 ms, so a small array travels with every call instead."""
        if isinstance(value, np.ndarray) and value.nbytes < SMALL:
            return value
        import ray

        nbytes = value.nbytes if isinstance(value, np.ndarray) else 0
        return Shared(ray.put(value), nbytes)

    def collect(self, handle: Call, timeout: float | None) -> Any:
        import ray

        if handle.ref is None:
            raise Gone(f"{self._name(handle.shard)}: its Ray actor has died")
        try:
            return ray.get(handle.ref, timeout=timeout)
        except ray.exceptions.GetTimeoutError as error:
            raise TimeoutError(str(error)) from error
        except gone() as error:
            self._bury(handle, error)
            raise Gone(f"{self._name(handle.shard)}: a Ray actor has died: {told(error)}") from error

    def _bury(self, call: Call, error: BaseException) -> None:
        """Never wait for this actor again, not even where Ray hopes that it comes back."""
        import ray

        if call.shard in self._lost or self._actors[call.shard] is not call.actor:
            return
        self._pids.pop(call.shard, None)
        ray.kill(call.actor)
        self._lost[call.shard] = 0.0
        after = "with fresh contexts" if self._movable else "with its data but without its clients' state"
        log.warning(
            "%s is lost: %s. It is started again before the next messages, %s.",
            self._name(call.shard), told(error), after,
        )  # fmt: skip

    def begin(self) -> None:
        for shard in list(self._lost):
            if self._lost[shard] <= time.monotonic() and not self._revive(shard):
                self._lost[shard] = time.monotonic() + AGAIN
        living = [shard for shard in range(len(self.blocks)) if shard not in self._lost]
        if self._movable and self._lost and living:
            for at, client in enumerate(c for c, shard in enumerate(self.home) if shard in self._lost):
                self.home[client] = living[at % len(living)]
        if self._balance is not None and self._measured(self._balance):
            self._move(self._balance.moves(living), self._balance)

    def _revive(self, shard: int) -> bool:
        """Start a lost shard again; False, without waiting, where its node is gone as well."""
        import ray

        if not self._reserved.usable(shard):
            return False
        actor = self._actors[shard] = self._actor(shard)
        ready, deadline = actor.ready.remote(), time.monotonic() + STARTING
        while time.monotonic() < deadline and self._reserved.usable(shard):
            if ray.wait([ready], timeout=0.5)[0]:
                try:
                    self._pids[shard] = ray.get(ready).pid
                except gone() as error:
                    log.warning("%s could not be started again: %s", self._name(shard), told(error))
                    break
                del self._lost[shard]
                return True
        ray.kill(actor)
        return False

    def _measured(self, balance: Balance) -> bool:
        """Take in what shards have spent, if they have told; ask them again if they were busy since."""
        import ray

        waiting = [call.ref for call in self._asked]
        if waiting and len(ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]) < len(waiting):
            return False
        spent = []
        for call in self._asked:
            try:
                spent.append(self.collect(call, None))
            except Gone:
                continue
        self._asked = []
        if self._busy:
            self._busy = 0
            self._asked = [self.submit(shard, "spent") for shard in range(len(self.blocks)) if shard not in self._lost]
        if any(spent):
            balance.note(spent)
        return any(spent)

    def _move(self, moves: Moves, balance: Balance) -> None:
        """Contexts go from actor to actor; messages submitted later find them there, as actors work in order."""
        import ray

        began, given = time.monotonic(), list[Any]()
        for (a, b), clients in moves.items():
            given.append(self._actors[b].give.remote(self._actors[a].take.remote(clients)))
            for client in clients:
                self.home[client] = b
        if moves:
            ray.wait(given, num_returns=len(given))  # where one of the two has died, contexts begin anew
            balance.price = time.monotonic() - began
            log.info("moved %d clients between shards to even them out", sum(map(len, moves.values())))

    def kill(self, shard: int) -> None:
        if self._reserved.here(shard) and shard in self._pids:
            with suppress(ProcessLookupError):
                os.kill(self._pids.pop(shard), signal.SIGKILL)
        else:
            import ray

            ray.kill(self._actors[shard])

    def nodes(self) -> list[str]:
        """The id of the node on which each shard lies."""
        return self._reserved.nodes()

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._reserved.release()
        if self._leave:
            ray.shutdown()
