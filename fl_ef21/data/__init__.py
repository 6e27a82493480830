"""Data sets by name. `load("libsvm", path="a9a.txt")`; each source's options are its loader's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fl_ef21.data.base import Dataset
from fl_ef21.data.digits import digits
from fl_ef21.data.files import files
from fl_ef21.data.huggingface import huggingface
from fl_ef21.data.libsvm import libsvm
from fl_ef21.data.mnist import mnist
from fl_ef21.data.synthetic import synthetic
from fl_ef21.errors import InputError, choose, nearest

Loader = Callable[..., Dataset]

SOURCES: dict[str, Loader] = {
    "digits": digits,
    "files": files,
    "huggingface": huggingface,
    "libsvm": libsvm,
    "mnist": mnist,
    "synthetic": synthetic,
}


def load(source: str, **options: Any) -> Dataset:
    """The data set of a source in SOURCES.

    Raises: InputError for an unknown source, an option its loader does not take or lacks, and whatever is
    wrong with the data themselves.
    """
    loader = choose(SOURCES, source, "data.source")
    known = inspect.signature(loader).parameters
    for option, value in options.items():
        if option not in known:
            raise InputError(f"data.{option}", value, f"is no option of {source!r}; {nearest(option, list(known))}")
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise InputError(f"data.{option}", None, f"is needed by the source {source!r}")
    if _kept is None:
        return loader(**options)
    key = f"{source} {sorted(options.items())}"
    if key not in _kept:
        _kept.clear()  # one at a time: they are large
        _kept[key] = loader(**options)
    return _kept[key]


@contextmanager
def kept() -> Iterator[None]:
    """While this goes on the last data set stays in memory, for whoever loads it again. Nobody may change it."""
    global _kept
    before, _kept = _kept, _kept if _kept is not None else {}
    try:
        yield
    finally:
        _kept = before


_kept: dict[str, Dataset] | None = None


__all__ = ["SOURCES", "Dataset", "Loader", "kept", "load"]
