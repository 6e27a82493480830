"""Reads one file of samples: npz, csv or parquet. Whatever is wrong names the file, and the line where there is one."""

from __future__ import annotations

import csv
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_ef21.data.base import Raw
from fl_ef21.errors import InputError, nearest


def read(field: str, file: Path, label_column: str) -> Raw:
    """Features (m, *shape) or (m, numbers), and labels (m,), as the file has them; not yet checked.

    field: where the file was named, for errors. Raises: InputError.
    """
    reader = _READERS.get(file.suffix)
    if reader is None:
        raise InputError(field, str(file), f"must end in one of {', '.join(SUFFIXES)}")
    if not file.is_file():
        raise InputError(field, str(file), "is not a file; on a device, write its whole path")
    try:
        features, labels = reader(file, label_column)
    except _Fault as fault:
        raise InputError(field, str(file), str(fault)) from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(field, str(file), f"cannot be read: {error}") from None
    return Raw(field, str(file), features, labels)


class _Fault(ValueError):
    """What is wrong with a file, as the end of a sentence about it."""


def _npz(file: Path, label_column: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if not zipfile.is_zipfile(file):
        raise _Fault("is not an npz file; numpy.savez(file, x=features, y=labels) writes one")
    try:
        with np.load(file, allow_pickle=False) as held:
            lacking = [name for name in ("x", "y") if name not in held.files]
            if lacking:
                raise _Fault(f"has no array {lacking[0]!r}, but {', '.join(map(repr, held.files)) or 'none'}; x and y")
            x, y = held["x"], held["y"]
    except ValueError as error:
        raise error if isinstance(error, _Fault) else _Fault(f"cannot be read: {error}") from None
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise _Fault(f"its array {name} holds {array.dtype}, not numbers")
    if x.ndim < 2 or y.ndim != 1:
        raise _Fault(f"x must be (samples, ...) and y (samples,), not {x.shape} and {y.shape}")
    return x, y


def _csv(file: Path, label_column: str) -> tuple[NDArray[Any], NDArray[Any]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            heading = [name.strip() for name in next(csv.reader(lines), [])]
            at = _place(heading, label_column)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a file without samples, which is told below
                table = np.loadtxt(lines, delimiter=",", quotechar='"', comments=None, ndmin=2, dtype=np.float64)
    except UnicodeDecodeError as error:
        raise _Fault(f"byte {error.start} is not UTF-8 text") from None
    except ValueError as error:
        if isinstance(error, _Fault):
            raise
        raise _Fault(_wrong_line(file) or str(error)) from None
    if not len(table):
        raise _Fault("holds no samples")
    if table.shape[1] != len(heading):
        raise _Fault(_wrong_line(file) or f"has rows of {table.shape[1]} numbers under a heading of {len(heading)}")
    return np.delete(table, at, axis=1), table[:, at]


def _wrong_line(file: Path) -> str | None:
    """Where the text is no table of numbers, and why."""
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        heading = next(rows, [])
        for row in rows:
            if row and len(row) != len(heading):
                return f"line {rows.line_num} has {len(row)} values, the heading {len(heading)}"
            for name, value in zip(heading, row, strict=False):
                try:
                    float(value)
                except ValueError:
                    return f"line {rows.line_num}: {name.strip()} = {value!r} is not a number"
    return None


def _parquet(file: Path, label_column: str) -> tuple[NDArray[Any], NDArray[Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file).read()
    except pyarrow.ArrowInvalid as error:
        raise _Fault(f"cannot be read: {error}") from None
    names = list(table.column_names)
    at = _place(names, label_column)
    columns = []
    for name, column in zip(names, table.columns, strict=True):
        kind = column.type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)):
            raise _Fault(f"its column {name!r} holds {kind}, not numbers")
        if column.null_count:
            row = column.is_null().to_pylist().index(True)
            raise _Fault(f"row {row} (from 0) has no {name}")
        columns.append(column.to_numpy())
    labels = columns.pop(at)
    return np.column_stack(columns), labels


def _place(names: list[str], label_column: str) -> int:
    if len(names) != len(set(names)):
        twice = next(name for name in names if names.count(name) > 1)
        raise _Fault(f"has two columns {twice!r}")
    if label_column not in names:
        raise _Fault(f"has no column {label_column!r} for labels (data.label_column); {nearest(label_column, names)}")
    if len(names) == 1:
        raise _Fault(f"has no column besides {label_column!r}")
    return names.index(label_column)


_READERS: dict[str, Callable[[Path, str], tuple[NDArray[Any], NDArray[Any]]]] = {
    ".npz": _npz, ".csv": _csv, ".parquet": _parquet,
}  # fmt: skip
SUFFIXES = tuple(_READERS)
