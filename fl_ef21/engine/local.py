"""The pool without Ray: one shard in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from fl_ef21.engine.keeper import CHUNK, Keeper
from fl_ef21.engine.log import ASKING, CHANGING
from fl_ef21.engine.shard import Shard


class Local:
    """A `Pool` whose calls are made at once. `keeper` lets it heal when somebody kills its shard."""

    def __init__(self, build: Callable[[], Shard], block: range, keeper: Keeper | None) -> None:
        self._build, self._keeper = build, keeper
        self._shard: Shard | None = build()
        self.home: Sequence[int] = [0] * len(block)
        self.blocks: Sequence[range] = [block]

    def begin(self) -> None:
        keeper = self._keeper
        if keeper is None:
            return
        for shard in keeper.retired():
            keeper.emptied(shard, self._call("empty"))
        if keeper.due():
            parts = self._call("parts", CHUNK)
            keeper.renew(sum(part.nbytes for part in parts), ((0, self._call("image", part)) for part in parts))

    def submit(self, shard: int, method: str, *args: Any) -> Future[Any]:
        done: Future[Any] = Future()
        if self._keeper is None or method not in CHANGING | ASKING:
            done.set_result(self._call(method, *args))
            return done
        entry = self._keeper.add(shard, method, args)
        done.set_result(self._call(method, *args))
        self._keeper.finish(entry)
        return done

    def share(self, value: Any) -> Any:
        return value

    def collect(self, handle: Future[Any], timeout: float | None) -> Any:
        return handle.result()

    def kill(self, shard: int) -> None:
        """The shard is thrown away, and built anew; it is what it was if there is a keeper."""
        self._shard = None  # before there are two of them
        self._shard = self._build()
        if self._keeper is None:
            return
        if not self._keeper.logs[shard].whole:
            return self._keeper.restart(shard)
        for image in self._keeper.images(shard):
            self._call("load", image)
        for entry in self._keeper.logs[shard].entries:
            self._call(entry.method, *entry.args)

    def close(self) -> None:
        self._shard = None
        if self._keeper is not None:
            self._keeper.close()

    def _call(self, method: str, *args: Any) -> Any:
        return getattr(self._shard, method)(*args)
