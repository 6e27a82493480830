"""Do both sides run the same code? Two working trees that share a Flower SuperLink may not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fl_ef21.plugins import OURS as PACKAGES
from fl_ef21.plugins import files


@lru_cache(maxsize=1)
def source_digest() -> bytes:
    """16 bytes over the Python sources of the four packages, wherever they were imported from."""
    root, digest = Path(__file__).resolve().parent.parent, blake2b(digest_size=16)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.digest()


def sources(others: Iterable[Any] = ()) -> dict[str, str]:
    """A digest of each of these files, by its name from the root; and of those that these classes are in."""
    root = Path(__file__).resolve().parent.parent
    ours = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    named = [*((path.relative_to(root).as_posix(), path) for path in ours), *files(others)]
    return {name: blake2b(path.read_bytes(), digest_size=8).hexdigest() for name, path in named}


def agreed(scenario: str, others: Iterable[Any] = ()) -> bytes:
    """16 bytes that server and clients must share: the sources, those of classes of other packages that the scenario
    names, and its resolved text."""
    digest = blake2b(source_digest() + scenario.encode(), digest_size=16)
    for name, path in files(others):
        digest.update(b"\0" + name.encode() + b"\0" + path.read_bytes())
    return digest.digest()
