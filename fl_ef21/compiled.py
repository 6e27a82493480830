"""Loops compiled by numba, kept on disk under a digest of the sources of all of them.

Numba keeps what it compiled until the file of that one function changes, with the code of the functions it calls
inside: after an update it would go on running their old code. It also keeps them by where the file lies. Here copies
with the same digest share them: the bundles that a device was sent one after another, and the clone beside them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import caching
from numba.core import config as numba_config

config: Any = numba_config
_HERE = Path(__file__).parent
KEPT = 3
_SOURCES = ("compiled.py", "select.py", "kernels/*.py", "wire/*.py")


_Locator: Any = getattr(caching, "UserProvidedCacheLocator", None) or vars(caching)["_UserProvidedCacheLocator"]


class Here(_Locator):  # type: ignore[misc]
    """Where numba keeps a loop: by its file's place in this package, not by where the package lies."""

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        path = Path(py_file).absolute()
        if not path.is_relative_to(_HERE.absolute()):
            return str(super().get_suitable_cache_subpath(py_file))
        return "-".join(("fl_ef21", *path.relative_to(_HERE.absolute()).parent.parts))


@cache
def _folder() -> str:
    """Where the compiled loops of these sources are kept; "" leaves it to numba."""
    sources = sorted(path for pattern in _SOURCES for path in _HERE.glob(pattern))
    digest = blake2b(b"".join(path.read_bytes() for path in sources), digest_size=8).hexdigest()
    base = Path(config.CACHE_DIR) if config.CACHE_DIR else _HERE / "__pycache__"
    folder = base / f"compiled-{digest}"
    try:
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _forget(base)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""


def _forget(base: Path) -> None:
    """Remove what older sources were compiled to, but for the last few: other working trees may share the folder."""
    kept = sorted(base.glob("compiled-*"), key=lambda path: path.stat().st_mtime)
    for old in kept[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def compiled(loop: Callable[..., Any]) -> Any:
    """The loop, compiled at its first call and released from Python's lock while it runs."""
    before = {name: getattr(config, name, "") for name in ("CACHE_DIR", "CACHE_LOCATOR_CLASSES")}
    if folder := _folder():
        config.CACHE_DIR = folder
        config.CACHE_LOCATOR_CLASSES = f"{__name__}.{Here.__name__}"  # an older numba does not ask, and compiles more
    try:
        return njit(nogil=True, cache=True)(loop)
    finally:
        for name, value in before.items():
            setattr(config, name, value)
