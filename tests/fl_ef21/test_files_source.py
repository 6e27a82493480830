"""Clients' own files: what they hold is the same in every format and on every machine; what is wrong is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from fl_ef21.data import load
from fl_ef21.data.files import Form, none, one
from fl_ef21.errors import InputError
from tests.own_files import FORMATS, write

SHAPE, CLASSES = (2, 3), 4


def samples(m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, *SHAPE)).astype(np.float32), rng.integers(0, CLASSES, m)


def folder_of(tmp_path: Path, formats: tuple[str, ...] = FORMATS, sizes: tuple[int, ...] = (5, 8, 3)) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for i, (suffix, m) in enumerate(zip(formats, sizes, strict=True)):
        write(folder / f"client-{i}.{suffix}", *samples(m, i))
    return folder


def asked(**more: Any) -> dict[str, Any]:
    return {"shape": list(SHAPE), "classes": CLASSES} | more


def test_every_format_gives_the_same_samples_client_after_client(tmp_path: Path) -> None:
    found = load("files", path=folder_of(tmp_path), **asked())
    want = [samples(m, i) for i, m in enumerate((5, 8, 3))]
    assert np.array_equal(found.features, np.concatenate([x for x, _ in want]))
    assert np.array_equal(found.labels, np.concatenate([y for _, y in want]))
    assert found.features.dtype == np.float32 and found.labels.dtype == np.int64
    assert found.classes == ("0", "1", "2", "3") and found.shape == SHAPE
    assert found.groups is not None and found.groups.tolist() == [0] * 5 + [1] * 8 + [2] * 3
    assert len(found.test_labels) == 0 and found.test_groups is None


def test_samples_may_lie_flat_in_the_file(tmp_path: Path) -> None:
    x, y = samples(4)
    np.savez(tmp_path / "a.npz", x=x.reshape(4, -1), y=y)
    assert np.array_equal(one(Form(SHAPE, CLASSES), 0, "f", tmp_path / "a.npz").features, x)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9])
def test_a_device_holds_of_its_file_what_the_folder_says_it_does(fraction: float, tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    everybody, form = (
        load("files", path=folder, **asked(test_fraction=fraction)),
        Form.of(**asked(test_fraction=fraction)),
    )
    for i, suffix in enumerate(FORMATS):
        mine = one(form, i, "node-config.data-path", folder / f"client-{i}.{suffix}")
        rows = everybody.groups == i
        assert np.array_equal(mine.features, everybody.features[rows])
        assert np.array_equal(mine.labels, everybody.labels[rows]) and len(mine) >= 1
        if fraction:
            kept = everybody.test_groups == i
            assert np.array_equal(mine.test_features, everybody.test_features[kept])
            assert mine.test_groups is not None and set(mine.test_groups.tolist()) <= {i}
            assert len(mine) + len(mine.test_labels) == (5, 8, 3)[i]


def test_what_is_kept_for_testing_is_the_asked_share() -> None:
    form = Form(SHAPE, CLASSES, test_fraction=0.25)
    assert [int(form.tested(7, m).sum()) for m in (1, 2, 4, 8, 100)] == [0, 1, 1, 2, 25]
    assert not np.array_equal(form.tested(7, 100), form.tested(8, 100))


def test_without_any_file_the_shape_and_the_classes_are_known() -> None:
    found = none(Form.of(**asked()))
    assert (found.shape, len(found.classes), len(found)) == (SHAPE, CLASSES, 0)


def test_test_samples_may_be_nobodys(tmp_path: Path) -> None:
    test = write(tmp_path / "test.csv", *samples(6, 9))
    found = load("files", path=folder_of(tmp_path), test_path=test, **asked())
    assert np.array_equal(found.test_features, samples(6, 9)[0]) and found.test_groups is None
    assert np.array_equal(none(Form.of(**asked()), test).test_features, found.test_features)


# What is wrong


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"shape": [2, 3]}, "data.classes = None: is needed"),
        ({"classes": 4}, r"data.shape = None: give the source 'files' either features"),
        ({"classes": 4, "shape": [3], "features": 3}, r"data.shape = \[3\]: give the source 'files' either"),
        ({"classes": 1, "shape": [3]}, "data.classes = 1: must be at least 2"),
        ({"classes": 4, "shape": [3, 0]}, r"data.shape\[1\] = 0: must be at least 1"),
        ({"classes": 4, "features": 3, "test_fraction": 1.0}, r"data.test_fraction = 1.0: must lie in \[0, 1\)"),
    ],
)
def test_a_form_that_cannot_be_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Form.of(**given)


def npz(file: Path, **arrays: Any) -> Path:
    np.savez(file, **arrays)
    return file


def table(file: Path, **columns: Any) -> Path:
    parquet.write_table(pyarrow.table(columns), file)
    return file


X, Y = samples(3)
FLAT = {f"p{j}": X.reshape(3, -1)[:, j] for j in range(6)}
WRONG: dict[str, tuple[Any, str]] = {
    "text.txt": ("a", "must end in one of .npz, .csv, .parquet"),
    "lacking.npz": (None, "is not a file; on a device, write its whole path"),
    "garbage.npz": ("garbage", "is not an npz file"),
    "no-y.npz": ({"x": X, "labels": Y}, "has no array 'y', but 'x', 'labels'"),
    "words.npz": ({"x": X, "y": np.array(["a", "b", "c"])}, "its array y holds <U1, not numbers"),
    "lengths.npz": ({"x": X, "y": Y[:2]}, "has 3 samples but 2 labels"),
    "flat.npz": ({"x": Y, "y": Y}, r"x must be \(samples, ...\) and y \(samples,\), not \(3,\) and \(3,\)"),
    "empty.npz": ({"x": X[:0], "y": Y[:0]}, "holds no samples"),
    "shape.npz": ({"x": X[:, :, :2], "y": Y}, r"its samples have shape \(2, 2\), the scenario's are of shape \(2, 3\)"),
    "width.npz": ({"x": X[:, :, 0], "y": Y}, "its samples are 2 numbers"),
    "range.npz": ({"x": X, "y": Y * 0 + [0, 4, 0]}, r"row 1 \(from 0\) has the label 4; with data.classes = 4 "),
    "negative.npz": ({"x": X, "y": Y * 0 - 1}, r"row 0 \(from 0\) has the label -1"),
    "half.npz": ({"x": X, "y": Y + 0.5}, "which is not a whole number"),
    "nan.npz": ({"x": X * [[[1]], [[np.nan]], [[1]]], "y": Y}, r"row 1 \(from 0\) has a feature that is not a finite"),
    "word.csv": ("label,a\n1,2\n1,two\n", "line 3: a = 'two' is not a number"),
    "short.csv": ("label,a,b\n1,2,3\n1,2\n", "line 3 has 2 values, the heading 3"),
    "wide.csv": ("label,a\n1,2,3\n", "line 2 has 3 values, the heading 2"),
    "none.csv": ("label,a\n", "holds no samples"),
    "blank.csv": ("", "has no column 'label' for labels"),
    "near.csv": ("labels,a\n1,2\n", "has no column 'label' for labels .*did you mean 'labels'"),
    "only.csv": ("label\n1\n", "has no column besides 'label'"),
    "twice.csv": ("label,a,a\n1,2,3\n", "has two columns 'a'"),
    "latin.csv": (b"label,a\n1,\xff\n", "byte 10 is not UTF-8 text"),
    "garbage.parquet": ("garbage", "cannot be read"),
    "word.parquet": ({"label": Y, "a": ["1", "2", "3"]}, "its column 'a' holds string, not numbers"),
    "null.parquet": ({"label": Y, "a": [1.0, None, 2.0]}, r"row 1 \(from 0\) has no a"),
    "none.parquet": ({"a": Y, "b": Y}, "has no column 'label'"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_named_with_the_place(name: str, tmp_path: Path) -> None:
    file, (content, told) = tmp_path / name, WRONG[name]
    if isinstance(content, str | bytes):
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    elif content is not None:
        (npz if file.suffix == ".npz" else table)(file, **content)
    with pytest.raises(InputError, match=told) as caught:
        one(Form(SHAPE, CLASSES), 0, "node-config.data-path", file)
    assert caught.value.field == "node-config.data-path" and caught.value.value == str(file)


def test_a_pickle_in_an_npz_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (tmp_path / "went off").touch, ()

    np.savez(tmp_path / "a.npz", x=np.array([[Bomb()]], dtype=object), y=Y[:1])
    with pytest.raises(InputError, match="allow_pickle"):
        one(Form(SHAPE, CLASSES), 0, "data.path", tmp_path / "a.npz")
    assert not (tmp_path / "went off").exists()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "lacks client-0, one of .npz, .csv, .parquet"),
        (("client-0.npz", "client-2.npz"), "lacks client-1"),
        (("client-0.npz", "client-0.csv"), "has two files for client 0: client-0.csv and client-0.npz"),
        (("a.npz",), "lacks client-0"),
    ],
)
def test_a_folder_that_is_not_complete_is_told(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name, X, Y)
    with pytest.raises(InputError, match=told):
        load("files", path=tmp_path, **asked())


def test_ten_clients_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in range(11):
        write(tmp_path / f"client-{i}.npz", X + i, Y)
    (tmp_path / "notes.txt").write_text("not a client's")
    found = load("files", path=tmp_path, **asked())
    assert np.array_equal(found.features[::3], np.stack([X[0] + i for i in range(11)]))


def test_a_test_set_of_ones_own_and_one_of_nobodys_exclude_each_other(tmp_path: Path) -> None:
    test = write(tmp_path / "test.npz", X, Y)
    with pytest.raises(InputError, match=r"data.test_fraction = 0.5: must be 0 where data.test_path is given"):
        load("files", path=folder_of(tmp_path), test_path=test, **asked(test_fraction=0.5))


def test_features_count_numbers_where_no_shape_is_needed(tmp_path: Path) -> None:
    file = table(tmp_path / "a.parquet", label=Y, **FLAT)
    assert one(Form.of(features=6, classes=CLASSES), 0, "f", file).features.shape == (3, 6)
