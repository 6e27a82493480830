"""Where the vectors of clients lie: memory of the device that computes, memory of the host, or mapped files.

    Resident    where the compute is: nothing ever moves
    Host        in the host's memory, pinned where a GPU computes; the next tile is copied while this one is computed
    Mapped      in files without a name, of which a budget is in this process's memory

Every tier holds the same bits. How one is chosen: scenarios/footprint.py.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from fl_ef21 import pages
from fl_ef21.errors import Refused

CHUNK = 1 << 18  # bytes of a mapping that come and go together; the kernel maps up to 64 KiB around a page at once
WAITING = 64  # requests to the kernel that may be under way; more would only tell it what it is doing already
SYNC_FILE_RANGE_WRITE = 2


class Tier(Protocol):
    """Holds the vectors of one experiment's clients. A piece is a part of them without gaps.

    Attributes:
      watches: whether it wants to hear which pieces are needed and used.
    """

    watches: bool

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Room for one field of a state. Raises: Refused("state") where there is none."""
        ...

    def need(self, fetched: Sequence[Tensor], touched: Sequence[Tensor]) -> None:
        """Soon `fetch` will be asked for these pieces, and those will be read or written in place."""
        ...

    def fetch(self, piece: Tensor) -> Tensor:
        """The piece where it is computed with, perhaps itself: nobody may change it."""
        ...

    def used(self, pieces: Sequence[Tensor]) -> None:
        """These were read or written just now; they stay, and those used longest ago make room."""
        ...

    def close(self) -> None:
        """Nobody will use it any more. What lies there goes with the last tensor."""
        ...


class Resident:
    """In the memory of the device that computes."""

    watches = False

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if self.device == "cpu":
            return pages.empty(shape, dtype).zero_()
        return torch.zeros(shape, dtype=dtype, device=self.device)

    def need(self, fetched: Sequence[Tensor], touched: Sequence[Tensor]) -> None:
        pass

    def fetch(self, piece: Tensor) -> Tensor:
        return piece

    def used(self, pieces: Sequence[Tensor]) -> None:
        pass

    def close(self) -> None:
        pass


class Host:
    """In the host's memory, while `device` computes. What is needed next is copied there meanwhile."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._stream: Any = None
        if self.device.type == "cuda":
            self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._ahead: dict[tuple[int, int], Tensor] = {}  # first and last byte of a piece: its copy on the device
        self.watches = self._stream is not None

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, pin_memory=self._stream is not None)

    def need(self, fetched: Sequence[Tensor], touched: Sequence[Tensor]) -> None:
        self._ahead.clear()
        if self._stream is not None:
            with torch.cuda.stream(self._stream):
                self._ahead = {_span(piece): piece.to(self.device, non_blocking=True) for piece in fetched}

    def fetch(self, piece: Tensor) -> Tensor:
        copy = self._ahead.pop(_span(piece), None)
        if copy is None or self._stream is None:
            return piece.to(self.device)
        now = torch.cuda.current_stream(self.device)
        now.wait_stream(self._stream)
        copy.record_stream(now)
        return copy

    def used(self, pieces: Sequence[Tensor]) -> None:
        """Copies of what may have been written meanwhile are not those of the next step."""
        spans = [_span(piece) for piece in pieces]
        self._ahead = {
            (a, b): copy for (a, b), copy in self._ahead.items() if not any(a < d and c < b for c, d in spans)
        }

    def close(self) -> None:
        self._ahead.clear()


@dataclass(frozen=True)
class _Region:
    """One mapped file: its descriptor, where its first byte lies, its length."""

    file: Any
    address: int
    length: int


class Mapped:
    """In files, of which at most `budget` bytes are in this process's memory.

    A file has no name, or loses it at once, so that the kernel deletes it with the process, however that ends. Its
    blocks are reserved before it is used: a disk that fills up is an error here and no signal later. What leaves
    this process stays in the kernel's page cache as long as nobody else needs the room. Only Linux lets us say what
    leaves; elsewhere the system decides.
    """

    watches = True

    def __init__(self, folder: Path, budget: int, device: str = "cpu") -> None:
        self.folder, self.budget, self.device = folder, budget, device
        self._regions: list[_Region] = []
        self._recent: OrderedDict[tuple[int, int], None] = OrderedDict()  # chunks in memory, the latest last
        self._helper = ThreadPoolExecutor(1, "fl-ef21-state")
        self._asked: list[Future[None]] = []

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        length = max(1, torch.Size(shape).numel() * dtype.itemsize)
        try:
            file = _nameless(self.folder, length)
        except OSError as error:
            why = f"no room for {length:,} bytes of client state in {self.folder}: {error.strerror}"
            raise Refused("state", why) from error
        room = torch.frombuffer(mmap.mmap(file.fileno(), length), dtype=torch.uint8)
        self._regions.append(_Region(file, room.data_ptr(), length))
        return room[: torch.Size(shape).numel() * dtype.itemsize].view(dtype).view(shape)

    def need(self, fetched: Sequence[Tensor], touched: Sequence[Tensor]) -> None:
        """Pages that are on the disk alone are read while the tile before is computed."""
        far = [chunk for chunk in self._chunks([*fetched, *touched]) if chunk not in self._recent]
        if spans := [(region.file.fileno(), first, length) for region, first, length in self._joined(far)]:
            self._ask(_read_ahead, spans)

    def fetch(self, piece: Tensor) -> Tensor:
        return piece.to(self.device)

    def used(self, pieces: Sequence[Tensor]) -> None:
        for chunk in self._chunks(pieces):
            self._recent[chunk] = None
            self._recent.move_to_end(chunk)
        least = max(0, len(self._recent) - self.budget // CHUNK)
        out = [self._recent.popitem(last=False)[0] for _ in range(least)]
        gone = self._joined(out)
        for region, first, length in gone:
            pages.advise(region.address + first, length, "MADV_DONTNEED")  # the page cache has what was written
        if gone:
            self._ask(_write_back, [(region.file.fileno(), first, length) for region, first, length in gone])

    def close(self) -> None:
        self._helper.shutdown(cancel_futures=True)
        for region in self._regions:
            region.file.close()
        self._regions.clear()
        self._recent.clear()

    def _chunks(self, pieces: Iterable[Tensor]) -> list[tuple[int, int]]:
        """The chunks that pieces lie in, as the number of a region and of a chunk in it."""
        found: dict[tuple[int, int], None] = {}
        for piece in pieces:
            first, end = _span(piece)
            for number, region in enumerate(self._regions):
                if region.address <= first < region.address + region.length:
                    chunks = range((first - region.address) // CHUNK, -(-(end - region.address) // CHUNK))
                    found |= dict.fromkeys((number, chunk) for chunk in chunks)
        return list(found)

    def _joined(self, chunks: list[tuple[int, int]]) -> list[tuple[_Region, int, int]]:
        """Neighbours as one: a region, the first byte in it, how many. Never beyond the end of the region."""
        found = []
        for _, members in groupby(enumerate(sorted(chunks)), lambda one: (one[1][0], one[1][1] - one[0])):
            run = [chunk for _, chunk in members]
            region, first = self._regions[run[0][0]], run[0][1] * CHUNK
            found.append((region, first, min(len(run) * CHUNK, region.length - first)))
        return found

    def _ask(self, call: Callable[..., None], *args: Any) -> None:
        """Have the helper do it, unless it has enough to do: all of this is advice."""
        self._asked = [asked for asked in self._asked if not asked.done()]
        if len(self._asked) < WAITING:
            self._asked.append(self._helper.submit(call, *args))


@dataclass(frozen=True)
class Place:
    """Where the shards of a run keep their clients' state; what a shard is told.

    Attributes:
      kind: "device", "host" or "mapped".
      device: what computes.
      folder: of the files, if mapped.
      budget: bytes of one shard's state in memory, if mapped.
    """

    kind: Literal["device", "host", "mapped"]
    device: str = "cpu"
    folder: Path = Path()
    budget: int = 0

    def open(self) -> Tier:
        """A tier for one experiment."""
        if self.kind == "mapped":
            return Mapped(self.folder, self.budget, self.device)
        return Resident(self.device) if self.kind == "device" or self.device == "cpu" else Host(self.device)


def pieces(slots: Mapping[str, Tensor], rows: Sequence[int]) -> list[Tensor]:
    """Both slots (2, n, d) of every field in these rows; rows that follow one another are one piece."""
    runs = [[row for _, row in run] for _, run in groupby(enumerate(rows), lambda one: one[1] - one[0])]
    return [slot[run[0] : run[-1] + 1] for field in slots.values() for slot in field for run in runs]


def _span(piece: Tensor) -> tuple[int, int]:
    """Its first byte and the one behind its last."""
    return piece.data_ptr(), piece.data_ptr() + piece.numel() * piece.element_size()


def _nameless(folder: Path, length: int) -> Any:
    """A new file of zeros whose blocks are reserved. Raises: OSError."""
    file = tempfile.TemporaryFile(dir=folder, prefix="fl-ef21-state-")  # noqa: SIM115
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, length)
        else:
            os.ftruncate(file.fileno(), length)
    except OSError:
        file.close()
        raise
    return file


def _read_ahead(spans: Sequence[tuple[int, int, int]]) -> None:
    """Bring them into the page cache. Read and thrown away: MADV_WILLNEED makes small pages, which fault more often."""
    for file, first, length in spans:
        for at in range(first, first + length, 4 * CHUNK):
            os.pread(file, min(4 * CHUNK, first + length - at), at)


def _write_back(spans: Sequence[tuple[int, int, int]]) -> None:
    """Begin to write what has changed; nobody waits for it."""
    if (libc := pages.kernel()) is not None:
        for file, first, length in spans:
            libc.sync_file_range(file, ctypes.c_int64(first), ctypes.c_int64(length), SYNC_FILE_RANGE_WRITE)
