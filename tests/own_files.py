"""Clients' own files for tests, one of each format in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from fl_ef21 import data, partition

FORMATS = ("npz", "csv", "parquet")


def write(file: Path, features: np.ndarray, labels: np.ndarray) -> Path:
    """In the format that the name ends in; tables have the labels between their features."""
    flat = features.reshape(len(features), -1)
    if file.suffix == ".npz":
        np.savez(file, x=features, y=labels)
        return file
    columns: dict[str, Any] = {f"p{j}": flat[:, j] for j in range(flat.shape[1])}
    names = [*list(columns)[:1], "label", *list(columns)[1:]]
    columns["label"] = labels
    if file.suffix == ".parquet":
        parquet.write_table(pyarrow.table({name: columns[name] for name in names}), file)
        return file
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    file.write_text("\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows)]) + "\n")
    return file


def digits_in_files(folder: Path, clients: int) -> list[Path]:
    """Digits split by label skew, a file for each client."""
    folder.mkdir()
    digits = data.load("digits", test_fraction=0.0)
    parts = partition.split(digits, clients=clients, scheme="label-sorted", seed=1)
    return [
        write(folder / f"client-{i}.{FORMATS[i % 3]}", digits.features[part], digits.labels[part])
        for i, part in enumerate(parts)
    ]
