"""Folders for files of client state: whether they can take it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fl_ef21.errors import InputError
from scenarios.units import binary

FIELD = "engine.state_dir"


def folder(given: str | None) -> Path:
    """Where files go: what the scenario says, else the temporary folder."""
    return Path(given or tempfile.gettempdir()).absolute()


def check(folder: Path, wanted: int) -> None:
    """Raises: InputError where `folder` is none, cannot be written, or has not `wanted` bytes left."""
    if not folder.is_dir():
        raise InputError(FIELD, str(folder), "is not a folder; make it, or name another")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise InputError(FIELD, str(folder), f"cannot be written to ({error.strerror}); name another folder") from error
    free = shutil.disk_usage(folder).free
    if free < wanted:
        advice = f"has {binary(free)} free and client state takes {binary(wanted)}; name a folder on a larger disk"
        raise InputError(FIELD, str(folder), advice)


def in_memory(folder: Path) -> bool:
    """Whether files there lie in memory after all, as on tmpfs. False where the system does not say."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    here, found = folder.resolve(), (0, "")
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4])
        if here.is_relative_to(point):
            found = max(found, (len(point.parts), after.split()[0]))
    return found[1] in ("tmpfs", "ramfs")
