"""Do both sides run the same code? Two working trees that share a Flower SuperLink may not."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

PACKAGES = ("fl_ef21", "strategies", "clients", "scenarios")


@lru_cache(maxsize=1)
def source_digest() -> bytes:
    """16 bytes over the Python sources of the four packages, wherever they were imported from."""
    root, digest = Path(__file__).resolve().parent.parent, blake2b(digest_size=16)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.digest()


def sources() -> dict[str, str]:
    """A digest of each of these files, by its name from the root."""
    root = Path(__file__).resolve().parent.parent
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {p.relative_to(root).as_posix(): blake2b(p.read_bytes(), digest_size=8).hexdigest() for p in files}


def agreed(scenario: str) -> bytes:
    """16 bytes that server and clients must share: the sources and the resolved scenario's text."""
    return blake2b(source_digest() + scenario.encode(), digest_size=16).digest()
