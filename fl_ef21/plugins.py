"""Methods and compressors of other packages.

A name that is not one of ours is looked for among the entry points of what is installed, groups `fl_ef21.methods` and
`fl_ef21.compressors`; one with a colon, "package.module:Class", is imported. Whoever computes looks for itself: the
server, every client, every actor. So the module has to be where they all find it; the folder they are started in
counts. Free of heavy imports.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from fl_ef21.errors import InputError, nearest

T = TypeVar("T")
METHODS, COMPRESSORS = "fl_ef21.methods", "fl_ef21.compressors"  # groups of entry points
NAMES = {METHODS: "name", COMPRESSORS: "compressor"}  # what a scenario calls them
OURS = ("fl_ef21", "strategies", "clients", "scenarios")
_PATH = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?=:|$)")


class Registry(dict[str, T]):
    """Our own by name; what is asked for and not among them comes from other packages. Iteration shows ours."""

    def __init__(self, group: str, ours: dict[str, T]) -> None:
        super().__init__(ours)
        self.group = group

    def __reduce__(self) -> tuple[Any, ...]:
        return Registry, (self.group, dict(self))

    def __missing__(self, name: str) -> T:
        """Raises: InputError for a name that nobody has, and for a module or a class that is not there."""
        field = NAMES[self.group]
        if not isinstance(name, str) or ":" not in name:
            known = installed(self.group)
            if name not in known:
                raise InputError(field, name, unknown(name, self, self.group))
            return load(known[name], field, name)  # type: ignore[no-any-return]
        return load(name, field, name)  # type: ignore[no-any-return]


def named(word: str, known: Iterable[str]) -> str:
    """What a word such as "topk:0.01" or "package.module:Class:0.01" names: all before the colon of its options."""
    before = word.partition(":")[0]
    path = _PATH.match(word)
    return path[0] if path is not None and before not in known else before


def there(name: str, known: Iterable[str], group: str) -> bool:
    """Whether a name may be asked for; whether a module has the class is told when it is."""
    return name in known or _PATH.fullmatch(name) is not None or name in installed(group)


def unknown(name: str, known: Iterable[str], group: str) -> str:
    """Advice about a name that nobody has, as the end of a sentence."""
    if ":" in name:
        return 'is not known; a class of another package is written "package.module:Class"'
    return f"is not known; {nearest(name, [*known, *installed(group)])}"


@lru_cache(maxsize=8)
def installed(group: str) -> dict[str, str]:
    """The entry points of a group: "package.module:Class" by name."""
    return {entry.name: entry.value for entry in entry_points(group=group)}


def files(kinds: Iterable[Any]) -> list[tuple[str, Path]]:
    """Names and places of the sources that these classes come from, ours left out, in order.

    Of a package all files, of a module its own.
    """
    found: dict[str, Path] = {}
    for top in sorted({kind.__module__.partition(".")[0] for kind in kinds} - set(OURS)):
        module: Any = sys.modules[top]
        folders = [Path(folder) for folder in getattr(module, "__path__", ())]
        for folder in folders:
            found |= {f"{top}/{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*.py")}
        if not folders and getattr(module, "__file__", None):
            found[f"{top}.py"] = Path(module.__file__)
    return sorted(found.items())


def load(path: str, field: str, name: str) -> Any:
    """The class that a path names. Raises: InputError about `field`, whose value is `name`, where there is none."""
    if _PATH.fullmatch(path) is None:
        raise InputError(field, name, unknown(path, (), METHODS))
    from fl_ef21.problems import loading  # loads torch, as every method and compressor does

    _look_here(path.partition(":")[0].partition(".")[0])
    try:
        kind = loading.load(field, path)
    except InputError as error:
        raise InputError(field, name, error.advice) from error
    if not isinstance(kind, type):
        raise InputError(field, name, f"is a {type(kind).__name__}; a class is wanted")
    return kind


def _look_here(top: str) -> None:
    """A module that is nowhere else may lie in the current folder: a command's own path does not lead there."""
    here = Path.cwd()
    lies = (here / top).is_dir() or (here / f"{top}.py").is_file()
    if lies and top not in sys.modules and find_spec(top) is None and str(here) not in sys.path:
        sys.path.append(str(here))
