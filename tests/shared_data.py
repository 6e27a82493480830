"""Public tables beside the repository, which only some machines have."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

SYSTEM = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "system"


def system(name: str) -> Path:
    """A table of devices; the test is skipped where it is not there."""
    if not (path := SYSTEM / name).is_file():
        pytest.skip(f"needs {name} in ../shared/data/system")
    return path


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a CSV table; the test is skipped where it is not there."""
    with system(name).open(newline="") as file:
        return list(csv.DictReader(file))
