"""Files that are there as a whole or not at all, also after a kill or a power cut.

What is written goes into `.NAME.tmp` beside the file, which then takes its name. Its writer holds a lock on it, so that
two do not mix, and what a killed writer left is used again by the next one or removed by the next reader.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from fl_ef21.errors import Refused
from fl_ef21.failpoints import failpoint

DIGEST = 16
PATIENCE = 20.0  # seconds to wait for another process that writes the same file
FULL = (errno.ENOSPC, errno.EDQUOT)

Note = dict[str, Any]


def write(
    path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any], durable: bool = False,
    unless: Callable[[Note], bool] | None = None,
) -> None:  # fmt: skip
    """Whoever reads finds what was there before, or all of this. Folders are made, for their owner alone.

    durable: whether it must outlive a power cut, not only this process.
    unless: a look at the note of what is there; where it says True that stays, as something newer.

    Raises: Refused("storage") where it cannot be written, Refused("stale") where what is there stays.
    """
    body = encode(tensors, note)
    with placing(path, DIGEST + len(body), durable) as put:
        if unless is not None and (there := _note(path)) is not None and unless(there):
            raise Refused("stale", f"{path} is newer than what was to be kept")
        put([digest(body), body])


def place(path: Path, body: bytes, durable: bool = False) -> None:
    """These bytes as a file, or what was there before. Raises: Refused("storage") where they cannot be written."""
    with placing(path, len(body), durable) as put:
        put([body])


def read(path: Path) -> tuple[dict[str, Tensor], Note]:
    """The vectors and the note.

    Raises: Refused("state") where the file is damaged, Refused("storage") where the disk does not give it.
    """
    _sweep(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused("storage", f"{path} cannot be read: {error.strerror}") from error
    body = data[DIGEST:]
    if digest(body) != data[:DIGEST]:
        raise Refused("state", f"{path} is damaged: its digest does not match")
    return decode(body)


def remove(path: Path) -> None:
    """The file, and what a killed writer left of it."""
    path.unlink(missing_ok=True)
    _sweep(path)


def encode(tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> bytes:
    """A safetensors file with a note in its header."""
    return save(dict(tensors), metadata={"note": json.dumps(note)})


def decode(body: bytes) -> tuple[dict[str, Tensor], Note]:
    """What `encode` put together, once the digest has been seen to match."""
    header = json.loads(body[8 : 8 + int.from_bytes(body[:8], "little")])
    return load(body), json.loads(header["__metadata__"]["note"])


def digest(data: bytes) -> bytes:
    """16 bytes that tell damage."""
    return blake2b(data, digest_size=DIGEST).digest()


@contextmanager
def placing(path: Path, size: int, durable: bool) -> Iterator[Callable[[Sequence[bytes]], None]]:
    """Gives what puts `size` bytes at `path` while no other writer does; what it raises leaves the file as it was."""
    with naming(path, size):
        make_folder(path.parent, durable)
        temporary = _temporary(path)
        handle = _locked(temporary)
        try:
            yield lambda parts: _put(handle, temporary, path, parts, durable)
        finally:
            with suppress(OSError):  # gone if it took its place
                if _same(handle, temporary):
                    temporary.unlink()
            os.close(handle)


def _put(handle: int, temporary: Path, path: Path, parts: Sequence[bytes], durable: bool) -> None:
    for part in parts:
        rest = memoryview(part).cast("B")
        while len(rest):
            failpoint("files.write")
            rest = rest[os.write(handle, rest) :]
    if durable:
        failpoint("files.sync")
        os.fsync(handle)
    failpoint("files.rename")
    os.replace(temporary, path)
    if durable:
        sync_folder(path.parent)


@contextmanager
def naming(path: Path, size: int) -> Iterator[None]:
    """Says of a disk's error which file it was, how large, and what room there is. Raises: Refused("storage")."""
    try:
        yield
    except OSError as error:
        raise storage(path, size, error.strerror or str(error), error.errno in FULL) from error


def storage(path: Path, size: int, why: str, full: bool) -> Refused:
    """That `size` bytes did not get to `path`."""
    room = ""
    if full:
        with suppress(OSError):
            folder = next(folder for folder in path.parents if folder.exists())
            room = f"; {shutil.disk_usage(folder).free} bytes are free there"
    return Refused("storage", f"{path}: {size} bytes cannot be written: {why}{room}")


def make_folder(folder: Path, durable: bool) -> None:
    """The folder and those above it, for their owner alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent, durable)
    folder.mkdir(exist_ok=True, mode=0o700)
    if durable:
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed or made in this folder outlives a power cut."""
    failpoint("files.sync_folder")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _locked(temporary: Path) -> int:
    """The temporary file, empty and ours. Another writer may have moved or removed it before we had the lock."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(handle, temporary):
                os.ftruncate(handle, 0)
                return handle
        except BlockingIOError:
            time.sleep(0.005)
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise OSError(errno.EBUSY, f"another process has been writing it for {PATIENCE:.0f} s")


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _sweep(path: Path) -> None:
    """Remove what a killed writer left; what a living one is at stays."""
    temporary = _temporary(path)
    with suppress(OSError):
        handle = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(handle, temporary):
                temporary.unlink()
        finally:
            os.close(handle)


def _note(path: Path) -> Note | None:
    """The note alone, None where there is no file or it is damaged so that it tells nothing."""
    try:
        with path.open("rb") as file:
            start, size = file.read(DIGEST + 8), os.fstat(file.fileno()).st_size
            header = json.loads(file.read(min(size, int.from_bytes(start[DIGEST:], "little"))))
        note: Note = json.loads(header["__metadata__"]["note"])
        return note
    except (OSError, ValueError, KeyError, TypeError):
        return None
