"""A cut is there as a whole or not at all; the newest good one is used, and others are passed over by name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from fl_ef21 import cut
from fl_ef21.errors import InputError, Refused
from fl_ef21.failpoints import Failed, arm

RUN = bytes(range(16))
TENSORS = {
    "x": torch.tensor([1.5, float("nan"), -0.0]),
    "g": torch.arange(6, dtype=torch.float64).reshape(2, 3),
    "v": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
    "current": torch.tensor([0, 1, 1]),
    "there": torch.tensor([True, False]),
    "none": torch.zeros(0, 4),
}


def put(parent: Path, round: int, method: int = 0, run: bytes = RUN, name: str = "") -> Path:
    with cut.Writer(parent / (name or f"{method}-{round:04}"), durable=False) as writer:
        writer.add("server", TENSORS, {"round": round, "nested": {"points": [[1, "ab"]]}})
        writer.add("clients-0-3", {"g": torch.full((4, 2), float(round))}, {})
        return writer.seal({"round": round, "method": method, "identity": run.hex(), "term": 3})


def rounds(found: list[cut.Cut]) -> list[int]:
    return [one.about["round"] for one in found]


def bits(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {
        name: (t.dtype, t.shape, t.contiguous().view(torch.uint8).tolist() if t.numel() else [])
        for name, t in tensors.items()
    }


def test_what_was_added_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    folder = put(tmp_path / "cuts", 7)
    found = cut.read(folder)
    assert found.names == ("server", "clients-0-3") and found.about["term"] == 3
    tensors, note = found.load("server")
    assert bits(tensors) == bits(TENSORS) and note == {"round": 7, "nested": {"points": [[1, "ab"]]}}
    assert found.nbytes == sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def test_its_files_are_safetensors_that_anybody_can_read(tmp_path: Path) -> None:
    assert bits(load_file(put(tmp_path, 7) / "server.safetensors")) == bits(TENSORS)


def test_the_newest_cut_of_the_method_and_the_run_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert cut.newest(tmp_path / "none", RUN, 0) is None
    for round in (5, 20, 10):
        put(tmp_path, round)
    put(tmp_path, 30, method=1)
    assert not caplog.text
    put(tmp_path, 40, run=bytes(16))
    found = cut.newest(tmp_path, RUN, 0)
    assert found is not None and found.about["round"] == 20 and "0-0040 is of another run" in caplog.text
    assert cut.newest(tmp_path, RUN, 2) is None


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def exchange(path: Path) -> None:
    """With the file of another cut, itself whole."""
    path.write_bytes((path.parent.parent / "0-0010" / path.name).read_bytes())


@pytest.mark.parametrize("damage", [shorten, empty, flip, exchange, Path.unlink, lengthen])
@pytest.mark.parametrize("name", ["server.safetensors", "clients-0-3.safetensors", "cut.json"])
def test_a_damaged_cut_is_named_and_an_older_one_is_used(
    tmp_path: Path, name: str, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    if name == "cut.json" and damage in (exchange, lengthen):
        damage = flip  # that of another cut names other digests; white space means nothing
    put(tmp_path, 10)
    folder = put(tmp_path, 20)
    damage(folder / name)
    with pytest.raises(Refused, match=r"cut: .*0-0020"):
        cut.read(folder)
    found = cut.newest(tmp_path, RUN, 0)
    assert found is not None and found.about["round"] == 10 and "0-0020" in caplog.text


def test_all_files_of_another_cut_are_that_cut(tmp_path: Path) -> None:
    put(tmp_path, 10)
    folder = put(tmp_path, 20)
    exchange(folder / "cut.json")
    with pytest.raises(Refused, match="damaged: its digest"):
        cut.read(folder)


@settings(max_examples=100, deadline=None)
@example(place=0.5, flip=1)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_no_byte_of_a_manifest_may_change(tmp_path_factory: pytest.TempPathFactory, place: float, flip: int) -> None:
    folder = put(tmp_path_factory.getbasetemp() / "manifests", 10)
    path = folder / "cut.json"
    whole = path.read_bytes()
    data = bytearray(whole)
    data[int(place * len(data))] ^= flip
    path.write_bytes(data)
    if meaning(data) == meaning(whole):  # white space
        assert cut.read(folder).about["round"] == 10
        return
    with pytest.raises(Refused, match=r"cut: .*cut\.json is damaged"):
        cut.read(folder)
    assert cut.newest(folder.parent, RUN, 0) is None


def meaning(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def test_a_file_that_is_damaged_after_the_check_is_refused_too(tmp_path: Path) -> None:
    found = cut.read(put(tmp_path, 10))
    flip(found.folder / "server.safetensors")
    with pytest.raises(Refused, match=r"server\.safetensors is damaged"):
        found.load("server")
    (found.folder / "server.safetensors").unlink()
    with pytest.raises(Refused, match=r"server\.safetensors cannot be read"):
        found.load("server")


def test_the_first_and_the_last_are_kept_of_every_method(tmp_path: Path) -> None:
    assert cut.keep(tmp_path / "none") == []
    for round in range(1, 7):
        put(tmp_path, round)
        put(tmp_path, 10 * round, method=1)
    assert rounds(cut.keep(tmp_path, first=1, last=2)) == [1, 5, 6, 10, 50, 60]
    assert rounds(cut.keep(tmp_path, first=0, last=1)) == [6, 60]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-0006", "1-0060"]


def test_a_cut_that_was_not_sealed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failed), arm("files.write:raise:2"):
        put(tmp_path, 10)
    with cut.Writer(tmp_path / "a", durable=False) as writer:
        writer.add("server", TENSORS, {})
        with pytest.raises(InputError, match="server"):
            writer.add("server", TENSORS, {})
        for about in ({}, {"round": 1, "method": 0}, {"round": "1", "method": 0, "identity": RUN.hex()}):
            with pytest.raises(InputError, match=r"cut\.(round|identity)"):
                writer.seal(about)
    assert not any(tmp_path.iterdir())


def test_what_a_killed_writer_left_goes_when_the_next_one_begins(tmp_path: Path) -> None:
    left = tmp_path / ".0-0010.partial"
    put(tmp_path, 10).rename(left)
    assert cut.newest(tmp_path, RUN, 0) is None  # it had not been put in place
    put(tmp_path, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["0-0020"]


def test_a_cut_may_be_written_again_and_one_of_the_two_is_always_there(tmp_path: Path) -> None:
    put(tmp_path, 10, name="a")
    with pytest.raises(Failed), arm("cut.between:raise"):
        put(tmp_path, 11, name="a")
    found = cut.newest(tmp_path, RUN, 0)
    assert found is not None and found.about["round"] == 10 and found.load("server")
    cut.keep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and cut.read(tmp_path / "a").about["round"] == 10
    put(tmp_path, 11, name="a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and cut.read(tmp_path / "a").about["round"] == 11


@pytest.mark.parametrize("place", ["files.write", "files.sync", "files.rename", "cut.before_rename", "cut.between"])
def test_a_disk_that_fails_is_named_and_the_older_cut_stays(tmp_path: Path, place: str) -> None:
    put(tmp_path, 10, name="a")
    full = pytest.raises(Refused, match=r"storage: .*bytes cannot be written: .*are free there")
    with arm(f"{place}:enospc"), full, cut.Writer(tmp_path / "a", durable=True) as writer:
        writer.add("server", TENSORS, {})
        writer.seal({"round": 11, "method": 0, "identity": RUN.hex()})
    found = cut.newest(tmp_path, RUN, 0)
    assert found is not None and found.about["round"] == 10


def test_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = put(tmp_path / "cuts", 1)
    for path in (folder.parent, folder, folder / "cut.json"):
        assert os.stat(path).st_mode & 0o077 == 0
