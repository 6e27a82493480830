"""Which folders a run may be written to."""

from __future__ import annotations

from pathlib import Path

from fl_ef21.errors import InputError


def refuse_used(folder: Path) -> None:
    """Raises: InputError where `folder` is a file or already holds a run."""
    if folder.exists() and not folder.is_dir():
        raise InputError("out", str(folder), "is a file; name a new folder")
    if any((folder / name).exists() for name in ("rounds.jsonl", "summary.json", "scenario.toml")):
        raise InputError("out", str(folder), "already holds a run; name a new folder or remove this one")
