"""What it takes to build any shard anew: images of all of them, and a log of each since; and when images are due.

Images are taken when asking the logs again has become costly: it would take a hundred times as long as taking images
does, or the logs have become large. So they cost at most a hundredth of the time in which shards work.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_ef21.commit import Kind
from fl_ef21.engine.album import Album, room
from fl_ef21.engine.log import Entry, Log
from fl_ef21.image import Image

SHARE = 0.01  # of the time in which shards work
WORTH = 5.0  # seconds of work below which images are not thought of: a new process takes as long to start
RATE = 1 / (200 << 20)  # seconds that a byte of an image takes, a guess before the first
CHUNK = 32 << 20  # bytes of an image on its way through an actor and this process
log = logging.getLogger("fl_ef21")


def _limit() -> int:
    """A twentieth of the memory, at least 256 MiB."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        memory = 0
    return max(256 << 20, memory // 20)


@dataclass(frozen=True)
class Keep:
    """How much is kept for shards that may die.

    Attributes:
      limit: bytes of all logs at which images are taken; None is a twentieth of the memory, at least 256 MiB.
      worth, share: images wait until shards have worked so many seconds, and are so small a share of that.
      folder: of the file with images; None is the system's temporary folder.
    """

    limit: int | None = None
    worth: float = WORTH
    share: float = SHARE
    folder: Path | None = None


class Keeper:
    """Of all shards. Knows no process and no clock but the one it is given.

    Attributes:
      logs: of each shard.
      taken: how often images were taken, seconds: how long that took in all.
    """

    def __init__(self, shards: int, keep: Keep, clock: Callable[[], float] = time.perf_counter) -> None:
        self.logs = [Log(shards) for _ in range(shards)]
        self.taken, self.seconds = 0, 0.0
        self._keep, self._clock = keep, clock
        self._limit = _limit() if keep.limit is None else keep.limit
        self._folder = keep.folder or Path(tempfile.gettempdir())
        self._album: Album | None = None
        self._busy, self._need, self._rate = 0.0, keep.worth, RATE
        self._open, self._since = 0, 0.0
        self._retired: set[int] = set()

    # Calls -------------------------------------------------------------------------------------------

    def add(self, shard: int, method: str, args: tuple[Any, ...]) -> Entry:
        """A call that is about to be made."""
        if method == "load":
            self._loaded(shard, args[0])
        elif method == "answer" and _retires(args):
            self._retired.add(shard)
        if self._open == 0:
            self._since = self._clock()
        self._open += 1
        return self.logs[shard].add(shard, method, args)

    def finish(self, entry: Entry) -> None:
        """Its result has come, or never will."""
        now = self._clock()
        self._busy, self._since, self._open = self._busy + now - self._since, now, self._open - 1
        self.logs[entry.shard].finish(entry)

    @property
    def nbytes(self) -> int:
        """Of all logs, about."""
        return sum(one.nbytes for one in self.logs)

    # Images ------------------------------------------------------------------------------------------

    def images(self, shard: int) -> Iterator[Image]:
        """What the shard's log starts from."""
        album = self._album
        for number in range(album.count(shard) if album is not None else 0):
            assert album is not None
            yield album.get(shard, number)

    def retired(self) -> list[int]:
        """Shards in which an experiment has ended: they may hold nothing any more."""
        return sorted(self._retired)

    def emptied(self, shard: int, empty: bool) -> None:
        """Whether such a shard was found empty; then it is as new."""
        self._retired.discard(shard)
        if empty and not self.logs[shard].pending():
            self.restart(shard)

    def restart(self, shard: int) -> None:
        """The shard holds nothing: neither its images nor its log are needed."""
        self.logs[shard].restart()
        if self._album is not None:
            self._album.drop(shard)
            if not any(self._album.count(one) for one in range(len(self.logs))):
                self._close()
        if not any(one.entries for one in self.logs):
            self._busy, self._need = 0.0, self._keep.worth

    def due(self) -> bool:
        """Whether `renew` should be called, in a pause between rounds."""
        return self._busy >= self._need or self.full

    @property
    def full(self) -> bool:
        """Whether the logs may not grow any further."""
        return self.nbytes >= self._limit

    def renew(self, nbytes: int, images: Iterator[tuple[int, Image]]) -> None:
        """Perhaps take images of all shards, `nbytes` in all; then logs begin anew. Nobody may wait for a result.

        Where there is no room for them and the logs are full, they are given up, with a warning.
        """
        expected = max(self._keep.worth, nbytes * self._rate / self._keep.share)
        if not self.full and self._busy < expected:
            self._need = expected
            return
        began, new = self._clock(), None
        try:
            if not room(self._folder, nbytes):
                raise OSError("the disk is full")
            new = Album(self._folder)
            for shard, image in images:
                new.add(shard, image)
        except OSError as error:
            if new is not None:
                new.close()
            self._need = math.inf  # until the logs are full
            return self._give_up(f"{nbytes:,} bytes in {self._folder}: {error}") if self.full else None
        took = self._clock() - began
        self.taken, self.seconds = self.taken + 1, self.seconds + took
        if nbytes:
            self._rate = took / nbytes
        self._busy, self._need = 0.0, max(self._keep.worth, took / self._keep.share)
        self._begin(new, whole=True)

    def close(self) -> None:
        self._close()

    def _begin(self, album: Album | None, *, whole: bool) -> None:
        self._close()
        self._album = album
        for one in self.logs:
            one.forget(whole=whole)

    def _give_up(self, why: str) -> None:
        log.warning(
            "client state is kept no more for shards that die: no room for its images, %s. Clients of a shard that "
            "dies will lack their state; name a folder on a larger disk.", why,
        )  # fmt: skip
        self._begin(None, whole=False)

    def _loaded(self, shard: int, image: Image) -> None:
        """An image from elsewhere is where the shard's log starts from. Raises: ValueError in the middle of a run."""
        if any(entry.method != "load" for entry in self.logs[shard].entries):
            raise ValueError("images are loaded before the first message")
        try:
            if self._album is None:
                self._album = Album(self._folder)
            if not room(self._folder, image.nbytes):
                raise OSError("the disk is full")
            self._album.add(shard, image)
        except OSError as error:
            self._give_up(f"{image.nbytes:,} bytes in {self._folder}: {error}")

    def _close(self) -> None:
        if self._album is not None:
            self._album.close()
            self._album = None


def _retires(args: tuple[Any, ...]) -> bool:
    """Whether a call to "answer" ends an experiment for its last client."""
    blocks = args[2]
    return len(blocks) > 0 and blocks[-1][2:3] == bytes((Kind.RETIRE,))
