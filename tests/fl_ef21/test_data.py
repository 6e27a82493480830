"""Sources of data: what they give, and what they say of files that are wrong."""

from __future__ import annotations

import gzip
import inspect
import os
import struct
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from fl_ef21.data import SOURCES, load
from fl_ef21.data.base import Raw, build, hold_out
from fl_ef21.data.mnist import FILES
from fl_ef21.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("FL_EF21_DATA", ROOT / "../shared/data"))


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"the data set {name} is not here; FL_EF21_DATA names the folder that holds it")
    return REAL / name


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    pixels = np.arange(6 * 2 * 3, dtype=np.uint8).reshape(6, 2, 3)
    labels = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    for name, array in zip(FILES, (pixels, labels, pixels[:3], labels[:3]), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    return tmp_path


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `parquet` puts a split; the cache lies beside it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "table"
    folder.mkdir()
    return folder


def parquet(folder: Path, split: str, **columns: Any) -> None:
    datasets.Dataset.from_dict(columns).to_parquet(folder / f"{split}.parquet")


# What every source promises


def small(source: str, tmp_path: Path) -> dict[str, Any]:
    if source == "libsvm":
        (tmp_path / "a.txt").write_text("-1 1:0.5\n1 2:1\n" * 5)
        return {"path": tmp_path / "a.txt", "test_fraction": 0.4}
    return {"samples": 200} if source == "synthetic" else {}


@pytest.mark.parametrize("source", ["digits", "libsvm", "synthetic"])
def test_a_source_gives_what_a_dataset_promises(source: str, tmp_path: Path) -> None:
    d = load(source, **small(source, tmp_path))
    assert d.features.dtype == d.test_features.dtype == np.float32
    assert d.labels.dtype == d.test_labels.dtype == np.int64
    assert len(d) == len(d.features) == len(d.labels) > 0
    assert len(d.test_features) == len(d.test_labels) > 0
    assert d.features.shape[1:] == d.test_features.shape[1:] == d.shape
    assert set(d.labels) == set(d.test_labels) == set(range(len(d.classes)))


@pytest.mark.parametrize("source", ["digits", "libsvm", "synthetic"])
def test_the_same_options_give_the_same_data_and_another_seed_does_not(source: str, tmp_path: Path) -> None:
    options = small(source, tmp_path)
    first, again, other = (load(source, **options, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.test_labels, again.test_labels)
    assert not np.array_equal(first.features, other.features)


def test_every_option_of_every_source_is_a_keyword() -> None:
    for loader in SOURCES.values():
        for parameter in inspect.signature(loader).parameters.values():
            assert parameter.kind is parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("source", "options", "field", "words"),
    [
        ("mnits", {}, "data.source", "did you mean 'mnist'"),
        ("mnist", {}, "data.path", "is needed"),
        ("synthetic", {"sample": 3}, "data.sample", "did you mean 'samples'"),
        ("synthetic", {"samples": 0}, "data.samples", "at least 20"),
        ("synthetic", {"classes": 1}, "data.classes", "at least 2"),
        ("synthetic", {"features": 2.5}, "data.features", "whole number"),
        ("synthetic", {"groups": 2001}, "data.groups", "at most 2000"),
        ("synthetic", {"separation": float("nan")}, "data.separation", "[0, 1e6]"),
        ("synthetic", {"seed": -1}, "data.seed", "at least 0"),
        ("digits", {"test_fraction": 1.0}, "data.test_fraction", "[0, 1)"),
        ("digits", {"test_fraction": float("nan")}, "data.test_fraction", "[0, 1)"),
        ("digits", {"test_fraction": 0.001}, "data.test_fraction", "cannot split digits"),
        ("libsvm", {"path": "nowhere.txt"}, "data.path", "is not a file"),
        ("libsvm", {"path": "a", "test_path": "b", "test_fraction": 0.1}, "data.test_fraction", "must be 0"),
        ("huggingface", {"name": "a", "feature_column": []}, "data.feature_column", "must name"),
        ("huggingface", {"name": "a", "test_split": "t", "test_fraction": 1}, "data.test_fraction", "be 0"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_named(source: str, options: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        load(source, **options)
    assert caught.value.field == field
    assert words in caught.value.advice


# The checks all samples pass


def raw(features: Any, labels: Any, groups: Any = None) -> Raw:
    return Raw("data.path", "a file", np.asarray(features), np.asarray(labels), groups)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (raw(np.zeros((0, 2)), []), "holds no samples"),
        (raw([[1.0], [2.0]], [0, 1, 1]), "2 samples but 3 labels"),
        (raw([[1.0], [np.nan], [np.inf]], [0, 1, 1]), "row 1 (from 0)"),
        (raw([[1.0], [np.inf], [-np.inf]], [0, 1, 1]), "row 1 (from 0)"),
        (raw([[1.0], [1.0], [1e300]], [0, 1, 1]), "row 2 (from 0)"),
        (raw([[1.0], [2.0]], [0, 1.5]), "label 1.5"),
        (raw([[1.0], [2.0]], [0, np.nan]), "label nan"),
        (raw([[1.0], [2.0]], [1, 1]), "every sample has the label 1"),
    ],
)
def test_broken_samples_are_refused_with_their_origin(train: Raw, words: str) -> None:
    with pytest.raises(InputError) as caught:
        build("x", train)
    assert (caught.value.field, caught.value.value) == ("data.path", "a file")
    assert words in caught.value.advice


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (raw([[1.0]], [2]), "label 2 of the test set"),
        (raw([[1.0, 2.0]], [0]), "shape (2,)"),
        (raw([[np.nan]], [0]), "row 0"),
    ],
)
def test_a_test_set_that_does_not_fit_is_refused(test: Raw, words: str) -> None:
    with pytest.raises(InputError, match=r"data.path") as caught:
        build("x", raw([[1.0], [2.0]], [0, 1]), test)
    assert words in caught.value.advice


def test_classes_are_sorted_as_numbers_and_text_as_text() -> None:
    assert build("x", raw([[1.0]] * 4, [10, 9, -1, 9])).classes == ("-1", "9", "10")
    d = build("x", raw([[1.0]] * 3, ["cat", "ant", "cat"]))
    assert d.classes == ("ant", "cat")
    assert d.labels.tolist() == [1, 0, 1]


def test_groups_lose_the_clients_that_hold_test_samples_only() -> None:
    groups = np.array(["a", "b", "c"] + ["d"] * 9)
    train, test = hold_out(raw(np.ones((12, 1)), [0, 1] * 6, groups), 0.5, seed=0)
    d = build("x", train, test)
    assert d.groups is not None
    assert [d.group_names[g] for g in d.groups] == train.groups.tolist()
    assert set(d.groups) == set(range(len(d.group_names)))


# One by one


def test_digits_are_images_and_every_class_gives_its_share_to_the_test_set() -> None:
    d = load("digits", test_fraction=0.25)
    assert d.shape == (1, 8, 8)
    assert (d.features.min(), d.features.max()) == (0, 1)
    assert len(d) + len(d.test_labels) == 1797
    share = np.bincount(d.test_labels) / (np.bincount(d.labels) + np.bincount(d.test_labels))
    assert np.all(np.abs(share - 0.25) < 0.01)


def test_digits_without_a_test_set_are_all_there() -> None:
    d = load("digits", test_fraction=0)
    assert (len(d), d.test_features.shape, d.test_labels.shape) == (1797, (0, 1, 8, 8), (0,))


def test_synthetic_classes_lie_as_far_apart_as_asked() -> None:
    d = load("synthetic", samples=20_000, features=200, classes=5, separation=6.0, test_fraction=0)
    mu = np.stack([d.features[d.labels == c].mean(axis=0) for c in range(5)])
    apart = np.linalg.norm(mu[:, None] - mu, axis=2)[np.triu_indices(5, 1)]
    assert np.all(np.abs(apart - 6) < 0.7)  # relative deviation 1/sqrt(2F) = 0.05 of the random centres
    residual = d.features - mu[d.labels]
    assert abs(residual.std() - 1) < 0.01


def test_synthetic_groups_differ_in_labels_and_features() -> None:
    d = load("synthetic", samples=6000, groups=4, classes=3, features=50, test_fraction=0)
    assert d.groups is not None
    assert d.group_names == ("0", "1", "2", "3")
    assert np.ptp(np.bincount(d.groups)) <= 1
    favourite = [np.bincount(d.labels[d.groups == g]).argmax() for g in range(4)]
    assert favourite == [0, 1, 2, 0]
    first, last = (d.features[(d.groups == g) & (d.labels == 0)].mean(axis=0) for g in (0, 3))
    assert 1.5 < np.linalg.norm(first - last) < 2.5  # separation / 2 = 2


def test_mnist_files_plain_and_zipped_give_the_same_images(idx_folder: Path) -> None:
    plain = load("mnist", path=idx_folder)
    for name in FILES:
        (idx_folder / f"{name}.gz").write_bytes(gzip.compress((idx_folder / name).read_bytes()))
        (idx_folder / name).unlink()
    zipped = load("mnist", path=str(idx_folder))
    np.testing.assert_array_equal(plain.features, zipped.features)
    np.testing.assert_array_equal(plain.features.ravel(), np.arange(36, dtype=np.float32) / np.float32(255))
    assert (plain.shape, len(plain.test_labels), plain.classes) == ((1, 2, 3), 3, ("0", "1", "2"))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        (FILES[0], lambda data: data[:-1], "has 35 bytes of data; its header says 6x2x3 = 36"),
        (FILES[0], lambda data: data + b"0", "has 37 bytes of data"),
        (FILES[1], lambda data: data[:5], "cut short"),
        (FILES[1], lambda data: b"\x00\x00\x08\x03" + data[4:], "starts with the number 2051"),
        (FILES[2], lambda data: b"\x00\x00\x0d\x03" + data[4:], "starts with the number 3331"),
    ],
)
def test_a_damaged_idx_file_is_named(idx_folder: Path, name: str, damage: Any, words: str) -> None:
    file = idx_folder / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError) as caught:
        load("mnist", path=idx_folder)
    assert (caught.value.field, caught.value.value) == ("data.path", str(file))
    assert words in caught.value.advice


def test_an_archive_cut_short_is_named(idx_folder: Path) -> None:
    file = idx_folder / f"{FILES[0]}.gz"
    file.write_bytes(gzip.compress((idx_folder / FILES[0]).read_bytes())[:-12])
    (idx_folder / FILES[0]).unlink()
    with pytest.raises(InputError, match=r"images-idx3-ubyte\.gz.*cannot be read"):
        load("mnist", path=idx_folder)


def test_missing_idx_files_are_listed(idx_folder: Path) -> None:
    (idx_folder / FILES[3]).unlink()
    for folder, what in ((idx_folder, f"has no {FILES[3]}"), (idx_folder / "no", "is not a folder")):
        with pytest.raises(InputError, match=r"data\.path") as caught:
            load("mnist", path=folder)
        assert all(name in caught.value.advice for name in FILES)
        assert what in caught.value.advice


def test_libsvm_reads_comments_gaps_and_archives(tmp_path: Path) -> None:
    file = tmp_path / "toy.txt.gz"
    file.write_bytes(gzip.compress(b"# toy\n1 1:0.5 3:-2 # last\n\n-1 2:1e-1\n-1\n"))
    d = load("libsvm", path=file)
    np.testing.assert_array_equal(d.features, np.array([[0.5, 0, -2], [0, 0.1, 0], [0, 0, 0]], np.float32))
    assert (d.labels.tolist(), d.classes, d.name) == ([1, 0, 0], ("-1", "1"), "toy")


def test_libsvm_files_of_different_width_are_made_as_wide_as_the_widest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("0 1:1\n1 2:1\n")
    (tmp_path / "b").write_text("1 4:7\n")
    d = load("libsvm", path=tmp_path / "a", test_path=tmp_path / "b")
    assert (d.shape, d.test_features.tolist(), d.test_labels.tolist()) == ((4,), [[0, 0, 0, 7]], [1])
    assert load("libsvm", path=tmp_path / "a", features=9).shape == (9,)
    with pytest.raises(InputError, match=r"data\.features = 3: must be at least 4"):
        load("libsvm", path=tmp_path / "a", test_path=tmp_path / "b", features=3)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("yes 1:1", "the label 'yes' is not a number"),
        ("1,2 1:1", "the label '1,2' is not a number"),
        ("1 2:1 junk", "'junk' is not index:value"),
        ("1 2:", "'2:' is not index:value"),
        ("1 1.5:2", "'1.5:2' is not index:value"),
        ("1 0:2", "'0:2': indices start at 1"),
        ("1 -3:2", "'-3:2': indices start at 1"),
        ("1 3:1 2:1", "'2:1' comes after index 3"),
        ("1 3:1 3:1", "'3:1' comes after index 3"),
        ("1 99999999999:1", "'99999999999:1': indices end at"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_malformed_line_is_named_by_file_and_number(tmp_path: Path, line: str, words: str, ending: str) -> None:
    text = f"# comment\n\n1 qid:3 1:1\n{line}\n0 1:1\n".encode()
    file = tmp_path / f"bad.txt{ending}"
    file.write_bytes(gzip.compress(text) if ending else text)
    with pytest.raises(InputError) as caught:
        load("libsvm", path=file)
    assert (caught.value.field, caught.value.value) == ("data.path", str(file))
    assert caught.value.advice.startswith(f"line 4: {words}")


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no samples"), ("0 1:1\n1 1:nan\n", "row 1"), ("0 1:1\n1.5 1:1\n", "label 1.5")],
)
def test_libsvm_samples_that_cannot_be_used_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a").write_text(text)
    (tmp_path / "b").write_text("0 1:1\n1 1:2\n")
    with pytest.raises(InputError, match=words) as caught:
        load("libsvm", path=tmp_path / "b", test_path=tmp_path / "a")
    assert caught.value.field == "data.test_path"


def test_a_broken_archive_of_libsvm_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"0 1:1\n1 1:2\n")[:-6])
    (tmp_path / "b.gz").write_bytes(b"0 1:1\n1 1:2\n")
    for name in ("a.gz", "b.gz"):
        with pytest.raises(InputError, match=rf"{name}.*cannot be read"):
            load("libsvm", path=tmp_path / name)


def test_a_local_table_is_read_with_its_columns_and_clients(table: Path) -> None:
    parquet(table, "train", a=[1, 2, 3], b=[0.5, 1, 2], kind=["x", "y", "x"], user=["u2", "u1", "u2"])
    parquet(table, "test", a=[9], b=[8.0], kind=["y"], user=["u9"])
    d = load(
        "huggingface",
        name=str(table),
        feature_column=["a", "b"],
        label_column="kind",
        natural_id="user",
        test_split="test",
    )
    assert d.features.tolist() == [[1, 0.5], [2, 1], [3, 2]]
    assert (d.classes, d.labels.tolist()) == (("x", "y"), [0, 1, 0])
    assert d.groups is not None
    assert (d.group_names, d.groups.tolist()) == (("u1", "u2"), [1, 0, 1])
    assert (d.test_features.tolist(), d.test_labels.tolist()) == ([[9, 8]], [1])


@pytest.mark.parametrize(("mode", "shape"), [("L", (1, 4, 5)), ("RGB", (3, 4, 5)), ("RGBA", (3, 4, 5))])
def test_images_become_channels_first_in_the_unit_interval(table: Path, mode: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 5, 4), dtype=np.uint8)
    images = [Image.fromarray(p).convert("RGB").convert(mode) for p in pixels]
    parquet(table, "train", image=images, label=[0, 1, 0, 1])
    d = load("huggingface", name=str(table), test_fraction=0.5)
    assert (d.shape, len(d.test_labels)) == (shape, 2)
    seen = np.concatenate([d.features, d.test_features])
    want = np.stack([np.asarray(image).reshape(4, 5, -1)[..., : shape[0]] for image in images])
    want = want.transpose(0, 3, 1, 2) / np.float32(255)
    assert sorted(map(bytes, seen)) == sorted(map(bytes, np.ascontiguousarray(want)))


@pytest.mark.parametrize(
    ("columns", "options", "field", "words"),
    [
        ({}, {"split": 1}, "data.split", "is no option"),
        ({}, {"feature_column": "iamge"}, "data.feature_column", "is no column"),
        ({}, {"label_column": "lable"}, "data.label_column", "did you mean 'label'"),
        ({}, {"natural_id": "user"}, "data.natural_id", "is no column"),
        ({}, {"train_split": "validation"}, "data.name", "validation"),
        ({}, {"feature_column": ["image", "label"]}, "data.feature_column", "one number"),
        ({"label": [0, None]}, {}, "data.label_column", "1 missing"),
        ({"image": [1.0, None]}, {}, "data.feature_column", "1 missing"),
        ({"image": ["a", "b"]}, {}, "data.feature_column", "numbers"),
        ({"image": [[1.0], [1.0, 2.0]]}, {}, "data.feature_column", "of one size"),
    ],
)
def test_what_a_table_lacks_is_named(
    table: Path, columns: dict[str, Any], options: dict[str, Any], field: str, words: str
) -> None:
    parquet(table, "train", **({"image": [[1.0, 2.0], [3.0, 4.0]], "label": [0, 1]} | columns))
    with pytest.raises(InputError) as caught:
        load("huggingface", name=str(table), **options)
    assert caught.value.field == field
    assert words in caught.value.advice


def test_images_of_several_sizes_and_missing_images_are_refused(table: Path) -> None:
    image = Image.fromarray(np.zeros((4, 5), np.uint8))
    for second, words in ((image.resize((2, 2)), "several sizes"), (None, "missing images")):
        parquet(table, "train", image=[image, second], label=[0, 1])
        with pytest.raises(InputError, match=words):
            load("huggingface", name=str(table))


def test_a_data_set_that_cannot_be_fetched_says_what_would_work(table: Path) -> None:
    with pytest.raises(InputError, match="folder of a local copy") as caught:
        load("huggingface", name=str(table / "nothing"))
    assert caught.value.field == "data.name"


def test_progress_bars_are_as_before(table: Path) -> None:
    parquet(table, "train", image=[[1.0], [2.0]], label=[0, 1])
    before = datasets.are_progress_bars_disabled()
    load("huggingface", name=str(table))
    assert datasets.are_progress_bars_disabled() == before


# The real files


def test_mnist_is_the_known_mnist() -> None:
    d = load("mnist", path=real("mnist"))
    assert (d.features.shape, d.test_features.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    per_class = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(d.labels).tolist() == per_class
    assert np.bincount(d.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert abs(d.features.mean(dtype=np.float64) - 0.1307) < 1e-4  # the mean everyone normalises with
    assert d.features.max() == 1


@pytest.mark.parametrize(
    ("name", "shape", "classes", "counts"),
    [
        ("phishing", (11055, 68), ("0", "1"), [4898, 6157]),
        ("mushrooms", (8124, 112), ("1", "2"), [3916, 4208]),
        ("a9a", (32561, 123), ("-1", "1"), [24720, 7841]),
    ],
)
def test_libsvm_files_are_the_known_ones(
    name: str, shape: tuple[int, int], classes: tuple[str, str], counts: list[int]
) -> None:
    d = load("libsvm", path=real(f"libsvm/{name}.txt.gz"))
    assert (d.features.shape, d.classes, np.bincount(d.labels).tolist()) == (shape, classes, counts)


def test_a9a_has_its_test_set() -> None:
    d = load("libsvm", path=real("libsvm/a9a.txt.gz"), test_path=real("libsvm/a9a.t.gz"), features=123)
    assert (d.shape, d.test_features.shape) == ((123,), (16281, 123))
    assert np.bincount(d.test_labels).tolist() == [12435, 3846]
    assert np.count_nonzero(d.features) == 451592
