"""Clients' own files: one a client, which on a device is the only one that it has.

    .npz       arrays x (m, *shape) or (m, numbers), and y (m,); no pickle
    .csv       a heading; the column of labels, all others are features in their order
    .parquet   likewise

What no single file can know is told: the shape of a sample and the number of classes. Labels are 0 .. classes - 1, as
a client that holds only some of the classes could not number them. So a model is the same with and without samples.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from fl_ef21 import randomness
from fl_ef21.data.base import Dataset, Floats, Whole, whole
from fl_ef21.data.reading import SUFFIXES, read
from fl_ef21.errors import InputError

_NAMED = re.compile(r"client-(\d+)\.(\w+)")


@dataclass(frozen=True)
class Form:
    """What every file must hold.

    Attributes:
      shape: of one sample.
      classes: how many; labels are 0 .. classes - 1.
      label_column: of tables.
      test_fraction: share of each client's samples that it keeps for testing, in [0, 1).
    """

    shape: tuple[int, ...]
    classes: int
    label_column: str = "label"
    test_fraction: float = 0.0

    @classmethod
    def of(
        cls, *, classes: int | None = None, features: int | None = None, shape: Sequence[int] | None = None,
        label_column: str = "label", test_fraction: float = 0.0,
    ) -> Form:  # fmt: skip
        """Raises: InputError that names the key of [data]."""
        if classes is None:
            raise InputError("data.classes", None, "is needed by the source 'files': how many there are, such as 10")
        if (features is None) == (shape is None):
            advice = "give the source 'files' either features = 20, numbers a sample, or a shape such as [1, 28, 28]"
            raise InputError("data.shape", shape, advice)
        whole("data.classes", classes, 2)
        sides = [("data.features", features)]
        if shape is not None:
            sides = [(f"data.shape[{j}]", side) for j, side in enumerate(shape)]
        found = tuple(whole(field, side, 1) for field, side in sides)
        if not found:
            raise InputError("data.shape", shape, "needs at least one side, such as [20]")
        fraction = test_fraction
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
            raise InputError("data.test_fraction", fraction, "must lie in [0, 1)")
        return cls(found, classes, label_column, float(fraction))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return tuple(map(str, range(self.classes)))

    def empty(self) -> tuple[Floats, Whole]:
        """No samples."""
        return np.empty((0, *self.shape), np.float32), np.empty(0, np.int64)

    def read(self, field: str, file: Path) -> tuple[Floats, Whole]:
        """The samples of one file: (m, *shape) float32, finite, and (m,) labels. Raises: InputError naming the file."""
        raw = read(field, file, self.label_column)
        features, labels = raw.checked()
        given = features.shape[1:]
        if given not in (self.shape, (prod(self.shape),)):
            told = f"have shape {given}" if len(given) != 1 else f"are {given[0]} numbers"
            raise raw.error(f"its samples {told}, the scenario's are of shape {self.shape}: {prod(self.shape)} numbers")
        bad = (labels < 0) | (labels >= self.classes)
        if bad.any():
            row = int(bad.argmax())
            told = f"row {row} (from 0) has the label {labels[row]}; with data.classes = {self.classes} labels are "
            raise raw.error(f"{told}0 to {self.classes - 1}")
        return features.reshape(-1, *self.shape), labels

    def tested(self, client: int, samples: int) -> np.ndarray:
        """(samples,) bool: which a client keeps for testing. Depends on its number and theirs alone."""
        kept = np.zeros(samples, bool)
        count = min(samples - 1, int(self.test_fraction * samples + 0.5))
        if count > 0:
            key = randomness.key(0, "held out", client)
            kept[randomness.subset(samples, count, key).numpy()] = True
        return kept


def files(
    *, path: str | Path, test_path: str | Path | None = None, classes: int | None = None, features: int | None = None,
    shape: Sequence[int] | None = None, label_column: str = "label", test_fraction: float = 0.0,
) -> Dataset:  # fmt: skip
    """All clients' files of a folder: client-0.npz, client-1.csv, and so on; each client is a group.

    path: the folder.
    test_path: a file of test samples.
    classes: how many; labels are 0 .. classes - 1.
    features, shape: numbers of a sample, or its shape; one of them.
    label_column: in csv and parquet.
    test_fraction: share of each client's samples kept for testing, in [0, 1); not together with test_path.
    Raises: InputError naming the file, and the row where it is one.
    """
    form = Form.of(
        classes=classes, features=features, shape=shape, label_column=label_column, test_fraction=test_fraction
    )
    found = in_folder(Path(path))
    parts = [form.read("data.path", file) for file in found]
    return _dataset(form, dict(enumerate(parts)), testing(form, test_path))


def one(form: Form, client: int, field: str, file: Path) -> Dataset:
    """The samples of one client alone; `field` is where its file was named. Raises: InputError."""
    return _dataset(form, {client: form.read(field, file)}, None)


def none(form: Form, test_path: str | Path | None = None) -> Dataset:
    """No samples but those to test on, if any: what a server needs where clients keep theirs. Raises: InputError."""
    return _dataset(form, {}, testing(form, test_path))


def in_folder(folder: Path) -> list[Path]:
    """Every client's file, in order. Raises: InputError where there are none, two for a client, or one is lacking."""
    if not folder.is_dir():
        raise InputError("data.path", str(folder), "is not a folder; it holds client-0.npz, client-1.csv, and so on")
    by_client: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        match = _NAMED.fullmatch(file.name)
        if match is None or f".{match[2]}" not in SUFFIXES:
            continue
        client = int(match[1])
        if client in by_client:
            told = f"has two files for client {client}: {by_client[client].name} and {file.name}; keep one"
            raise InputError("data.path", str(folder), told)
        by_client[client] = file
    lacking = next((i for i in range(len(by_client)) if i not in by_client), None)
    if not by_client or lacking is not None:
        advice = f"lacks client-{lacking or 0}, one of {', '.join(SUFFIXES)}; clients are numbered from 0 without gaps"
        raise InputError("data.path", str(folder), advice)
    return [by_client[i] for i in range(len(by_client))]


def testing(form: Form, test_path: str | Path | None) -> tuple[Floats, Whole] | None:
    """The test samples that are nobody's. Raises: InputError."""
    if test_path is None:
        return None
    if form.test_fraction:
        raise InputError("data.test_fraction", form.test_fraction, "must be 0 where data.test_path is given")
    return form.read("data.test_path", Path(test_path))


def _dataset(form: Form, parts: dict[int, tuple[Floats, Whole]], test: tuple[Floats, Whole] | None) -> Dataset:
    """Clients' samples one after another, those for testing apart."""
    owns = test is None and form.test_fraction > 0
    kept = {i: form.tested(i, len(y)) for i, (_, y) in parts.items()} if owns else {}
    train = [(x[~kept[i]], y[~kept[i]]) if owns else (x, y) for i, (x, y) in parts.items()]
    held = [(x[kept[i]], y[kept[i]]) for i, (x, y) in parts.items() if owns]
    features, labels = _joined(form, train)
    test_features, test_labels = _joined(form, held) if test is None else test
    return Dataset(
        name="files", features=features, labels=labels, classes=form.names,
        test_features=test_features, test_labels=test_labels, groups=_owners(parts, train),
        group_names=tuple(map(str, parts)), test_groups=_owners(parts, held) if owns else None,
    )  # fmt: skip


def _joined(form: Form, parts: Sequence[tuple[Floats, Whole]]) -> tuple[Floats, Whole]:
    if len(parts) == 1:  # no copy
        return parts[0]
    features, labels = zip(form.empty(), *parts, strict=True)
    return np.concatenate(features), np.concatenate(labels)


def _owners(parts: dict[int, tuple[Floats, Whole]], samples: Sequence[tuple[Floats, Whole]]) -> Whole:
    """The client of each of the samples."""
    return np.repeat(np.array(list(parts), dtype=np.int64), [len(labels) for _, labels in samples])
