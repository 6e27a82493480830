"""The calls of a shard since its last images: asked of a new process in the same order, they lead to the same bits."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, NamedTuple

import numpy as np

CHANGING = frozenset({"answer", "wipe"})  # methods of a shard after which its state is another
ASKING = frozenset({"parts", "image", "empty", "load"})  # and those that may be asked again without any harm
LARGE = 1 << 10  # bytes from which an object that is in the log several times counts once
OBJECT = 40  # bytes of an object besides its contents, about


class Shared(NamedTuple):
    """A value that many calls take, stored once."""

    ref: Any
    nbytes: int


@dataclass(eq=False)
class Entry:
    """A call, and a handle for its result.

    Attributes:
      call: what its process was asked last, None before.
      result: a tuple of the result where that is kept.
      done: whether somebody has the result; then only what it did to the shard matters.
      lost: why there will be no result, if so.
    """

    shard: int
    method: str
    args: tuple[Any, ...]
    call: Any = None
    result: tuple[Any] | None = None
    done: bool = False
    lost: str | None = None


class Log:
    """Of one shard.

    Attributes:
      entries: in the order of the calls; those that change nothing leave with their results.
      nbytes: of what would not be kept without it, about.
      whole: whether images and entries lead from nothing to what the shard holds.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self.restart()

    def restart(self) -> None:
        """The shard is as new."""
        self.entries: list[Entry] = []
        self.nbytes, self.whole = 0, True
        self._known: set[int] = set()

    def add(self, shard: int, method: str, args: tuple[Any, ...]) -> Entry:
        entry = Entry(shard, method, args)
        self.entries.append(entry)
        if self.whole and method in CHANGING:
            self.nbytes += sum(self._weight(arg) for arg in args)
        return entry

    def finish(self, entry: Entry) -> None:
        """Its result has been collected, or never will be."""
        entry.done, entry.call, entry.result = True, None, None
        keeps = self.whole and entry.method in CHANGING and entry.lost is None
        if not keeps and entry in self.entries:
            self.entries.remove(entry)

    def pending(self) -> list[Entry]:
        """Those whose results nobody has yet."""
        return [entry for entry in reversed(self.entries) if not entry.done][::-1]

    def forget(self, *, whole: bool) -> None:
        """Images have taken the place of what was asked so far, or nothing has; what is still computed stays."""
        waiting = [entry for entry in self.pending() if entry.result is None]
        self.restart()
        self.entries, self.whole = waiting, whole

    def _weight(self, arg: Any) -> int:
        """Bytes; what shards share is divided among them."""
        if isinstance(arg, Shared):
            return self._once(arg.ref, arg.nbytes // self._shards)
        if isinstance(arg, np.ndarray):
            return self._once(arg, arg.nbytes // self._shards)
        if isinstance(arg, bytes):
            return OBJECT + (len(arg) if len(arg) < LARGE else self._once(arg, len(arg)))
        if isinstance(arg, dict):
            return OBJECT + sum(self._weight(one) for one in arg.values())
        if isinstance(arg, list | tuple):
            if arg and isinstance(arg[0], int):
                return OBJECT * len(arg)
            if arg and isinstance(arg[0], bytes) and len(arg[0]) < LARGE:  # blocks, many and short
                return OBJECT * len(arg) + sum(map(len, arg))
            distinct = {id(one): one for one in arg}.values()
            return 8 * len(arg) + sum(self._once(one, self._weight(one)) for one in distinct)
        if is_dataclass(arg):
            return OBJECT + sum(self._weight(getattr(arg, field.name)) for field in fields(arg))
        return OBJECT

    def _once(self, thing: Any, nbytes: int) -> int:
        """Nothing the second time; the log keeps the thing, so that its id stays its own."""
        if id(thing) in self._known:
            return 0
        self._known.add(id(thing))
        return nbytes
