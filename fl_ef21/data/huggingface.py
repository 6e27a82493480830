"""Data sets of the Hugging Face hub, or a local folder of parquet or csv files, through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_ef21.data.base import Dataset, Raw, build, hold_out
from fl_ef21.errors import InputError, nearest


def huggingface(
    *,
    name: str,
    subset: str | None = None,
    feature_column: str | Sequence[str] = "image",
    label_column: str = "label",
    natural_id: str | None = None,
    train_split: str = "train",
    test_split: str | None = None,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Images become (N, channels, height, width) in [0, 1]; columns of numbers or lists stay as they are.

    name: on the hub, such as `ylecun/mnist`, or a local folder.
    subset: the configuration, where the data set has several.
    feature_column: one column, or several of one number each, which become (N, F).
    natural_id: the column that tells which client a sample belongs to.
    train_split, test_split: splits as the data set calls them; slices such as `train[:1000]` work.
    test_fraction: share of every class of train_split kept for testing; not together with test_split.
    seed: which ones, >= 0.
    Raises: InputError where it cannot be fetched, a column is missing, or a value is.
    """
    if test_split is not None and test_fraction != 0:
        raise InputError("data.test_fraction", test_fraction, "must be 0 where data.test_split is given")
    columns = [feature_column] if isinstance(feature_column, str) else list(feature_column)
    if not columns:
        raise InputError("data.feature_column", feature_column, "must name a column")

    def raw(split: str, natural_id: str | None) -> Raw:
        table = _fetch(name, subset, split)
        labels = _column(table, "data.label_column", label_column)
        groups = None if natural_id is None else _column(table, "data.natural_id", natural_id)
        return Raw("data.name", f"{name} ({split})", _features(table, columns), labels, groups)

    train = raw(train_split, natural_id)
    if test_split is not None:
        return build(name, train, raw(test_split, None))
    return build(name, *hold_out(train, test_fraction, seed))


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _fetch(name: str, subset: str | None, split: str) -> Any:
    import datasets

    try:
        with _no_progress_bars():
            return datasets.load_dataset(name, subset, split=split)
    except Exception as error:  # the hub, the network, the file formats: each has errors of its own
        what = " ".join(str(error).split())
        raise InputError(
            "data.name",
            name,
            f"cannot load {split!r} of it: {what} "
            "(without a network, give the folder of a local copy in parquet or csv files)",
        ) from error


def _column(table: Any, field: str, column: str) -> NDArray[Any]:
    """A column, (n, ...), without missing values; dtype object where its rows differ in length."""
    if column not in table.column_names:
        raise InputError(field, column, f"is no column; {nearest(column, table.column_names)}")
    missing = table.data.column(column).null_count
    if missing:
        raise InputError(field, column, f"has {missing} missing values")
    return np.asarray(table.with_format("numpy")[column][:])


def _features(table: Any, columns: list[str]) -> NDArray[Any]:
    import datasets

    if len(columns) == 1 and isinstance(table.features.get(columns[0]), datasets.Image):
        return _images(table, columns[0])
    parts = []
    for column in columns:
        part = _column(table, "data.feature_column", column)
        if part.dtype.kind not in "biuf":
            raise InputError("data.feature_column", column, "must hold images, or numbers or lists of one size")
        parts.append(part[:, None] if part.ndim == 1 else part)
    if len(parts) > 1 and any(part.shape[1:] != (1,) for part in parts):
        raise InputError("data.feature_column", columns, "several columns must each hold one number a sample")
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _images(table: Any, column: str) -> NDArray[np.float32]:
    """(n, channels, height, width) in [0, 1]; grey images have one channel, all others are made RGB."""
    images = table[column][:]
    if any(image is None for image in images):
        raise InputError("data.feature_column", column, "has missing images")
    grey = all(image.mode in ("1", "L") for image in images)
    pixels = [np.asarray(image.convert("L" if grey else "RGB")) for image in images]
    shapes = sorted({array.shape for array in pixels})
    if len(shapes) > 1:
        raise InputError(
            "data.feature_column", column, f"has images of several sizes, such as {shapes[0]} and {shapes[1]}"
        )
    scaled: NDArray[np.float32] = np.divide(np.stack(pixels), 255, dtype=np.float32)
    return scaled[:, None] if grey else scaled.transpose(0, 3, 1, 2)
