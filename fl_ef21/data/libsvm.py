"""LIBSVM text: one sample a line, `label index:value index:value ... # comment`, indices from 1.

Source: Chang, Lin. LIBSVM: a library for support vector machines. ACM TIST 2011.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_ef21.data.base import Dataset, Raw, build, hold_out, whole
from fl_ef21.errors import InputError


def libsvm(
    *,
    path: str | Path,
    test_path: str | Path | None = None,
    features: int | None = None,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Features (N, F), dense; labels in numeric order, so -1 comes before 1. Files are plain or .gz.

    test_path: a file of test samples.
    features: F, where the files need not use the last ones; else the largest index in either file.
    test_fraction: share of every class kept for testing, in [0, 1); not together with test_path.
    seed: which ones, >= 0.
    Raises: InputError, for a malformed line with the file's name and the line's number.
    """
    if test_path is not None and test_fraction != 0:
        raise InputError("data.test_fraction", test_fraction, "must be 0 where data.test_path is given")
    named = [("data.path", Path(path))] + ([("data.test_path", Path(test_path))] if test_path else [])
    sparse = [_read(field, file) for field, file in named]
    width = _width(features, max(x.shape[1] for x, _ in sparse))
    raws = [
        Raw(field, str(file), _dense(field, file, x, width), y)
        for (field, file), (x, y) in zip(named, sparse, strict=True)
    ]
    name = Path(path).name.split(".")[0]
    if len(raws) == 2:
        return build(name, raws[0], raws[1])
    return build(name, *hold_out(raws[0], test_fraction, seed))


def _width(features: int | None, used: int) -> int:
    if features is None:
        return used
    whole("data.features", features, 1)
    if features < used:
        raise InputError("data.features", features, f"must be at least {used}, the largest index in the data")
    return features


def _read(field: str, file: Path) -> tuple[Any, NDArray[np.float64]]:
    """A sparse matrix as wide as its largest index, and the labels."""
    from sklearn.datasets import load_svmlight_file

    if not file.is_file():
        raise InputError(field, str(file), "is not a file")
    try:
        x, y = load_svmlight_file(str(file), dtype=np.float32, zero_based=False)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(field, str(file), f"cannot be read: {error}") from None
    except (ValueError, OverflowError) as error:
        raise InputError(field, str(file), _fault(file) or str(error)) from None
    return x, y


def _dense(field: str, file: Path, x: Any, width: int) -> NDArray[np.float32]:
    x.resize(x.shape[0], width)
    try:
        dense: NDArray[np.float32] = x.toarray()
    except MemoryError:
        gigabytes = x.shape[0] * width * 4 / 1e9
        raise InputError(
            field, str(file), f"{width} features a sample take {gigabytes:.0f} GB, more than there is"
        ) from None
    return dense


def _fault(file: Path) -> str | None:
    """Where and how the text is malformed."""
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            words = line.split(b"#")[0].decode("utf-8", "replace").split()
            what = _fault_of(words) if words else None
            if what:
                return f"line {number}: {what}"
    return None


def _fault_of(words: list[str]) -> str | None:
    if not _is(float, words[0]):
        return f"the label {words[0]!r} is not a number"
    last = 0
    for word in words[1:]:
        index, colon, value = word.partition(":")
        if index == "qid" and word is words[1]:
            continue
        if not colon or not _is(int, index) or not _is(float, value):
            return f"{word!r} is not index:value"
        if int(index) < 1:
            return f"{word!r}: indices start at 1"
        if int(index) >= 2**31:
            return f"{word!r}: indices end at {2**31 - 1}"
        if int(index) <= last:
            return f"{word!r} comes after index {last}: indices must increase"
        last = int(index)
    return None


def _is(kind: type[int] | type[float], word: str) -> bool:
    try:
        kind(word)
    except ValueError:
        return False
    return True
