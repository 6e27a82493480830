"""Shards that lose nothing: one whose process dies is built anew from its last images and asked its log again.

Nobody who waits for a result hears of it: everything a client does depends on its state and on what it is asked, all
randomness being keyed by (seed, client, round), so the second process answers as the first would have.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fl_ef21.engine import cluster, placement
from fl_ef21.engine import images as image_calls
from fl_ef21.engine.cures import DEATHS, Cure, Lives, done, left, value
from fl_ef21.engine.keeper import CHUNK, Keep, Keeper
from fl_ef21.engine.log import ASKING, CHANGING, Entry
from fl_ef21.engine.losses import Gone, ShardLost, gone, told
from fl_ef21.engine.ray_pool import AGAIN, STARTING, Call, RayPool, Start, log
from fl_ef21.engine.reservation import Reservation
from fl_ef21.engine.settings import Settings

AHEAD = 32  # calls that are asked again before the first of them is waited for
LOOK = 5.0  # seconds between two looks at whether a node is still there


class HealingPool(RayPool):
    """A `RayPool` for the batched form. Calls of ordinary apps, whose contexts are Flower's, are lost as there."""

    def __init__(
        self, settings: Settings, blocks: Sequence[range], start: Start, reserved: Reservation, keep: Keep, *,
        leave: bool,
    ) -> None:  # fmt: skip
        self._keeper = Keeper(len(blocks), keep)
        self._lives = [Lives() for _ in blocks]
        self._cures: dict[int, Cure] = {}
        super().__init__(settings, blocks, start, reserved, movable=False, leave=leave)

    def submit(self, shard: int, method: str, *args: Any) -> Any:
        if method not in CHANGING | ASKING:
            return Call(shard, None, None) if shard in self._cures else super().submit(shard, method, *args)
        if shard in self._lost:
            return Call(shard, None, None)
        entry = self._keeper.add(shard, method, args)
        if shard not in self._cures:
            entry.call = super().submit(shard, method, *args)
        return entry

    def collect(self, handle: Call | Entry, timeout: float | None) -> Any:
        if isinstance(handle, Call):
            return super().collect(handle, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        if handle.result is None:
            result = self._result(handle, deadline)
        else:
            (result,) = handle.result
        self._keeper.finish(handle)
        return result

    def _result(self, entry: Entry, deadline: float | None) -> Any:
        """Wait for it, through any number of processes. Raises: TimeoutError, Gone, ShardLost."""
        import ray

        while True:
            self._advance(entry.shard, deadline)
            if entry.lost is not None:
                raise Gone(entry.lost)
            try:
                result = ray.get(entry.call.ref, timeout=left(deadline))
            except ray.exceptions.GetTimeoutError as error:
                raise TimeoutError(str(error)) from error
            except gone() as error:
                self._bury(entry.call, error)
            else:
                self._lives[entry.shard].lived()
                return result

    def begin(self) -> None:
        for shard in [one for one, again in self._lost.items() if again <= time.monotonic()]:
            self._lost[shard] = time.monotonic() + AGAIN
            if not self._reserved.usable(shard):
                continue
            if not self._keeper.logs[shard].whole:  # what it held is lost for good
                self._keeper.restart(shard)
            del self._lost[shard]
            self._begin_cure(shard)
        if self._lost or self._cures:
            return
        for shard in self._keeper.retired():
            if not self._keeper.logs[shard].pending():
                self._keeper.emptied(shard, self.collect(self.submit(shard, "empty"), None))
        if self._keeper.due() and (self._keeper.full or not any(one.pending() for one in self._keeper.logs)):
            self._photograph()

    def _photograph(self) -> None:
        """Images of all shards, if they are worth it; whoever waits for a result will find it here."""
        for one in self._keeper.logs:
            for entry in one.pending():
                entry.result = (self._result(entry, None),)
        try:
            wanted = image_calls.parts(self, CHUNK)
            nbytes = sum(part.nbytes for some in wanted for part in some)
            self._keeper.renew(nbytes, image_calls.images(self, wanted))
        except Gone:  # the logs go on until it is back
            return

    # Deaths ------------------------------------------------------------------------------------------

    def kill(self, shard: int) -> None:
        self._lives[shard].wanted = True
        super().kill(shard)

    def _bury(self, call: Call, error: BaseException) -> None:
        """Begin the cure. Raises: ShardLost where it has been tried too often."""
        import ray

        shard = call.shard
        if not self._keeper.logs[shard].whole:
            super()._bury(call, error)
            return self._abandon(shard, f"a Ray actor has died: {told(error)}")
        if shard in self._lost or self._actors[shard] is not call.actor:
            return
        self._pids.pop(shard, None)
        ray.kill(call.actor)
        self._lives[shard].reached += done(self._cures[shard].ahead) if shard in self._cures else 0
        if self._lives[shard].died() >= DEATHS:
            raise ShardLost(
                f"{self._name(shard)} has died {DEATHS} times in a row without getting any further: {told(error)}"
            )
        asked = sum(entry.done for entry in self._keeper.logs[shard].entries)
        log.warning(
            "%s is lost: %s. It starts again, with its clients' state: from its last images, if there are any, and "
            "%d calls that it is asked again.", self._name(shard), told(error), asked,
        )  # fmt: skip
        self._begin_cure(shard)

    def _begin_cure(self, shard: int) -> None:
        cure = self._cures[shard] = Cure()
        cure.steps = self._cure(shard, cure.ahead)

    def _cure(self, shard: int, ahead: deque[Any]) -> Iterator[Any]:
        """The steps to a process that holds what the last one held and computes what was not collected yet."""
        since, entries = time.monotonic(), self._keeper.logs[shard].entries
        while not self._reserved.usable(shard):
            if time.monotonic() - since > STARTING:
                self._lost[shard] = time.monotonic() + AGAIN
                return self._abandon(shard, "its node is gone and there is no room on another one")
            yield None
        actor = self._actors[shard] = self._actor(shard)
        ready = actor.ready.remote()
        yield ready
        self._pids[shard] = value(ready).pid
        for image in self._keeper.images(shard):
            yield actor.load.remote(image)
        at = 0
        while at < len(entries):  # more may come meanwhile
            entry, at = entries[at], at + 1
            if entry.done or entry.result is not None:
                ahead.append(super().submit(shard, "again", entry.method, *entry.args).ref)
            else:
                entry.call = super().submit(shard, entry.method, *entry.args)
                ahead.append(entry.call.ref)
            if len(ahead) > AHEAD:
                yield ahead.popleft()

    def _advance(self, shard: int, deadline: float | None) -> None:
        """Go on with the cure of a shard until it is done. Raises: TimeoutError at the deadline, ShardLost."""
        while (cure := self._cures.get(shard)) is not None:
            if not cure.waits:
                try:
                    cure.now, cure.waits = next(cure.steps), True
                except StopIteration:
                    del self._cures[shard]
                    return
            self._await(shard, cure, deadline)

    def _await(self, shard: int, cure: Cure, deadline: float | None) -> None:
        """Wait for what the cure waits for. What dies meanwhile is buried, and another cure begins."""
        import ray

        if cure.now is None:
            time.sleep(min(0.5, left(deadline, 0.5)))
            cure.waits = False
            if left(deadline, 1.0) <= 0:
                raise TimeoutError
            return
        actor = self._actors[shard]
        while not ray.wait([cure.now], timeout=min(LOOK, left(deadline, LOOK)))[0]:
            if left(deadline, 1.0) <= 0:
                raise TimeoutError
            if not self._reserved.usable(shard):
                self._lives[shard].wanted = True  # not its own fault; how long a node may be gone is the cure's to say
                return self._bury(Call(shard, actor, cure.now), RuntimeError("its node is gone"))
        try:
            ray.get(cure.now)
            cure.waits = False
            self._lives[shard].reached += 1
        except gone() as error:
            self._bury(Call(shard, actor, cure.now), error)

    def _abandon(self, shard: int, why: str) -> None:
        """Nobody need wait for this shard's results; what was not collected is as if it had never been asked."""
        for entry in self._keeper.logs[shard].pending():
            entry.lost = f"{self._name(shard)}: {why}"
            self._keeper.finish(entry)

    def close(self) -> None:
        super().close()
        self._keeper.close()


def open_ray(
    settings: Settings, split: Callable[[int], list[range]], start: Start, movable: bool, keep: Keep | None
) -> RayPool:  # fmt: skip
    """Join or start Ray, check that the actors fit, reserve their places, build them; they heal if `keep` says how."""
    leave = cluster.connect(settings)
    import ray

    try:
        there = cluster.present()
        actors = settings.actors or max(1, placement.capacity(there, settings))
        placement.check(there, settings, actors)
        blocks = split(actors)
        reserved = Reservation(settings, len(blocks))
        if keep is not None:
            return HealingPool(settings, blocks, start, reserved, keep, leave=leave)
        return RayPool(settings, blocks, start, reserved, movable=movable, leave=leave)
    except BaseException:
        if leave and ray.is_initialized():
            ray.shutdown()
        raise
