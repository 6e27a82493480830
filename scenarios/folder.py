"""Run folders: which may be written to, by one program at a time, and files that are replaced as a whole."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_ef21.errors import InputError
from fl_ef21.failpoints import failpoint


def refuse_used(folder: Path) -> None:
    """Raises: InputError where `folder` is a file or already holds a run."""
    if folder.exists() and not folder.is_dir():
        raise InputError("out", str(folder), "is a file; name a new folder")
    if any((folder / name).exists() for name in ("rounds.jsonl", "summary.json", "scenario.toml")):
        raise InputError("out", str(folder), "already holds a run; name a new folder or remove this one")


def folder_name(name: str) -> str:
    """A scenario's name with only what is fit for a folder's."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While this goes on no other program writes the run. Raises: InputError where one does already."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError("DIR", str(folder), "another program is running in this folder; wait for it") from None
        yield
    finally:
        os.close(handle)


def put(path: Path, text: str) -> None:
    """`place` for text."""
    place(path, text.encode())


def place(path: Path, body: bytes) -> None:
    """A file that is there as a whole or as it was before, also after a power cut."""
    scratch = path.with_name(f".{path.name}")
    with scratch.open("wb") as file:
        file.write(body)
        file.flush()
        failpoint("folder.put")
        os.fsync(file.fileno())
    scratch.replace(path)
    synced(path.parent)


def synced(path: Path) -> None:
    """A file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
