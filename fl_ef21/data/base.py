"""A data set in memory, and the checks that every source passes its samples through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl_ef21.errors import InputError

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Samples for classification.

    Attributes:
      features: (N, *shape) float32, all finite; images are (N, channels, height, width).
      labels: (N,) int64 in 0 .. len(classes) - 1.
      classes: the distinct training labels as text, numbers in numeric order.
      test_features, test_labels: of the same kinds; of length 0 where there is no test set.
      groups: (N,) int64, the natural client of every training sample, ids without gaps from 0; or None.
      group_names: the name of every natural client; empty without groups.
      test_groups: (T,) int64, increasing, the client that keeps each test sample; None where they are nobody's.
    """

    name: str
    features: Floats
    labels: Whole
    classes: tuple[str, ...]
    test_features: Floats
    test_labels: Whole
    groups: Whole | None = None
    group_names: tuple[str, ...] = ()
    test_groups: Whole | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.features.shape[1:])


@dataclass(frozen=True)
class Raw:
    """Samples as a source found them.

    Attributes:
      field, value: what a person wrote to get them, named in errors; such as `data.path` and a file.
      features: (n, *shape) numbers.
      labels: (n,) whole numbers of any dtype, or text.
      groups: (n,) natural ids, numbers or text, or None.
    """

    field: str
    value: str
    features: NDArray[Any]
    labels: NDArray[Any]
    groups: NDArray[Any] | None = None

    def error(self, advice: str) -> InputError:
        """An error that names where the samples came from."""
        return InputError(self.field, self.value, advice)

    def rows(self, index: NDArray[Any]) -> Raw:
        """The samples of these rows."""
        groups = None if self.groups is None else self.groups[index]
        return replace(self, features=self.features[index], labels=self.labels[index], groups=groups)

    def checked(self) -> tuple[Floats, Whole]:
        """Features (n, *shape) and labels (n,) that are whole numbers. Raises: InputError naming the origin."""
        features, labels = _features(self), _labels(self)
        if labels.dtype.kind != "i":
            raise self.error(f"its labels are text, such as {labels[0]!r}; they must be whole numbers from 0")
        return features, labels


def build(name: str, train: Raw, test: Raw | None = None) -> Dataset:
    """A checked data set.

    Raises: InputError naming the origin, where there is no sample, a feature is not finite, lengths
    differ, a label is not a whole number, there are fewer than two classes, or the test set has
    another sample shape or a label that the training set lacks.
    """
    features, raw_labels = _features(train), _labels(train)
    known, labels = np.unique(raw_labels, return_inverse=True)
    if len(known) < 2:
        raise train.error(f"every sample has the label {known[0]}; two classes are needed")
    groups, group_names = _groups(train)
    if test is None:
        test_features, test_labels = features[:0], labels[:0]
    else:
        test_features, test_labels = _features(test), _lookup(test, known)
        if test_features.shape[1:] != features.shape[1:]:
            raise test.error(
                f"its samples have shape {test_features.shape[1:]}, those to train on {features.shape[1:]}"
            )
    return Dataset(
        name=name,
        features=features,
        labels=labels.astype(np.int64),
        classes=tuple(str(label) for label in known),
        test_features=test_features,
        test_labels=test_labels.astype(np.int64),
        groups=groups,
        group_names=group_names,
    )


def hold_out(raw: Raw, fraction: float, seed: int) -> tuple[Raw, Raw | None]:
    """Training and test samples: `fraction` in [0, 1) of every class is for testing, order kept.

    Raises: InputError (data.test_fraction) where it is out of range or a class is too small for it.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise InputError("data.test_fraction", fraction, "must lie in [0, 1)")
    whole("data.seed", seed, 0, 2**32 - 1)
    if fraction == 0:
        return raw, None
    from sklearn.model_selection import train_test_split

    raw = replace(raw, features=_features(raw), labels=_labels(raw))  # before: errors count the source's rows
    try:
        train, test = train_test_split(
            np.arange(len(raw.labels)), test_size=fraction, stratify=raw.labels, random_state=seed
        )
    except ValueError as error:
        raise InputError("data.test_fraction", fraction, f"cannot split {raw.value}: {error}") from None
    return raw.rows(np.sort(train)), raw.rows(np.sort(test))


def whole(field: str, value: Any, least: int, most: int | None = None) -> int:
    """`value`, a whole number from `least` to `most`. Raises: InputError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(field, value, "must be a whole number")
    if value < least:
        raise InputError(field, value, f"must be at least {least}")
    if most is not None and value > most:
        raise InputError(field, value, f"must be at most {most}")
    return value


def _features(raw: Raw) -> Floats:
    if len(raw.features) == 0:
        raise raw.error("holds no samples")
    if len(raw.features) != len(raw.labels):
        raise raw.error(f"has {len(raw.features)} samples but {len(raw.labels)} labels")
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is reported below
        features = np.ascontiguousarray(raw.features, dtype=np.float32)
        total = features.sum(dtype=np.float64)
    if not np.isfinite(total):
        bad = ~np.isfinite(features).reshape(len(features), -1).all(axis=1)
        row = int(bad.argmax())
        raise raw.error(f"row {row} (from 0) has a feature that is not a finite number")
    return features


def _labels(raw: Raw) -> NDArray[Any]:
    """(n,) int64, or text."""
    labels = np.asarray(raw.labels)
    if labels.dtype.kind not in "biuf":
        return labels.astype(str)
    real = labels.astype(np.float64)
    broken = ~((np.abs(real) < 2**53) & (real == np.floor(real)))
    if broken.any():
        row = int(broken.argmax())
        raise raw.error(f"row {row} (from 0) has the label {labels[row]}, which is not a whole number")
    return labels.astype(np.int64)


def _lookup(test: Raw, known: NDArray[Any]) -> NDArray[Any]:
    """Positions of the test labels in the sorted training labels `known`."""
    labels = _labels(test)
    lacking = ~np.isin(labels, known)
    if lacking.any():
        label = labels[int(lacking.argmax())]
        raise test.error(f"label {label} of the test set is in no training sample")
    return np.searchsorted(known, labels)


def _groups(train: Raw) -> tuple[Whole | None, tuple[str, ...]]:
    if train.groups is None:
        return None, ()
    names, groups = np.unique(train.groups, return_inverse=True)
    return groups.astype(np.int64), tuple(str(name) for name in names)
