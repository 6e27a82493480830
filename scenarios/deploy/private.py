"""Files that only their owner may read, from the first moment."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """A new file; folders on the way are made. Raises: OSError where it is there already."""
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)  # whatever the umask is
        file.write(content)


def replace(path: Path, text: str) -> None:
    """A file that is there as a whole or as it was before."""
    scratch = path.with_name(f".{path.name}")
    scratch.unlink(missing_ok=True)
    write(scratch, text.encode())
    scratch.replace(path)


def log(path: Path) -> int:
    """A handle that appends to a log."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
