"""Files that are there as a whole or as they were, whoever is killed, and whatever a disk does."""

import errno
import fcntl
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clients.ef21 import State
from fl_ef21 import files
from fl_ef21.commit import Point
from fl_ef21.errors import Refused
from fl_ef21.failpoints import Failed, arm
from fl_ef21.store import Files

RUN, ONE, DIM = bytes(range(16)), range(3, 4), 4
STEPS = ("files.write", "files.sync", "files.rename", "files.sync_folder")


def put(path: Path, number: float, durable: bool = True) -> None:
    files.write(path, {"x": torch.full((3,), number)}, {"number": number}, durable)


def got(path: Path) -> float:
    tensors, note = files.read(path)
    assert torch.equal(tensors["x"], torch.full((3,), note["number"]))
    return float(note["number"])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", ["enospc", "eio"])
@pytest.mark.parametrize("place", STEPS)
def test_a_disk_that_fails_is_named_and_leaves_what_was_there(tmp_path: Path, place: str, error: str) -> None:
    path = tmp_path / "a"
    put(path, 1)
    with arm(f"{place}:{error}"), pytest.raises(Refused, match=r"storage: .*/a: \d+ bytes cannot be written") as told:
        put(path, 2)
    assert ("bytes are free there" in str(told.value)) is (error == "enospc")
    assert got(path) == (2 if place == "files.sync_folder" else 1)  # renamed, though perhaps not for good
    assert names(tmp_path) == ["a"]
    put(path, 3)
    assert got(path) == 3


def test_what_is_not_durable_is_not_synced(tmp_path: Path) -> None:
    with arm("files.sync:raise, files.sync_folder:raise"):
        put(tmp_path / "new" / "a", 1, durable=False)
        with pytest.raises(Failed):
            put(tmp_path / "a", 1)


def test_what_a_killed_writer_left_is_used_again_or_swept_away(tmp_path: Path) -> None:
    path, left = tmp_path / "a", tmp_path / ".a.tmp"
    put(path, 1)
    left.write_bytes(b"half of something long" * 100)
    assert got(path) == 1 and names(tmp_path) == ["a"]
    left.write_bytes(b"half of something long" * 100)
    put(path, 2)
    assert got(path) == 2 and names(tmp_path) == ["a"]
    left.write_bytes(b"half")
    files.remove(path)
    assert names(tmp_path) == []


def test_a_reader_leaves_alone_what_a_living_writer_is_at(tmp_path: Path) -> None:
    path = tmp_path / "a"
    put(path, 1)
    with (tmp_path / ".a.tmp").open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert got(path) == 1 and names(tmp_path) == [".a.tmp", "a"]


def test_another_writer_is_waited_for_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with (tmp_path / ".a.tmp").open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        with pytest.raises(Refused, match=r"storage: .*another process has been writing it"):
            put(tmp_path / "a", 1)
    put(tmp_path / "a", 2)
    assert got(tmp_path / "a") == 2


def test_many_writers_of_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    path = tmp_path / "a"
    put(path, 0)
    wrong = list[BaseException]()

    def write(first: int) -> None:
        try:
            for number in range(first, first + 40):
                put(path, number, durable=False)
                got(path)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(100 * at,)) for at in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong and got(path) % 100 == 39 and names(tmp_path) == ["a"]


@settings(max_examples=150, deadline=None)
@example(at=0, flip=1, cut=None)
@example(at=0, flip=0, cut=0)
@given(at=st.integers(0, 10**6), flip=st.integers(0, 255), cut=st.none() | st.integers(0, 10**6))
def test_a_damaged_file_is_refused_and_nothing_else_is(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int, cut: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    put(path, 1, durable=False)
    whole = path.read_bytes()
    data = bytearray(whole)
    data[at % len(data)] ^= flip
    data = data[: len(whole) if cut is None else cut % (len(whole) + 1)]
    path.write_bytes(data)
    if data == whole:
        assert got(path) == 1
    else:
        with pytest.raises(Refused, match=r"state: .*damaged is damaged"):
            files.read(path)
    put(path, 2, durable=False)  # and can be written again, whatever its header said
    assert got(path) == 2


def test_a_file_that_the_disk_does_not_give_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(Refused, match=r"storage: .*/a cannot be read"):
        files.read(tmp_path / "a")


# A client's file ----------------------------------------------------------------------------------


def step(store: Files, seen: int) -> None:
    """Follow an instruction: one step is staged."""
    rows = store.open(RUN, State, ONE, DIM, torch.float32)
    v = torch.full((1, DIM), float(seen))
    rows.write(np.array([0]), State(v=v, g=-v))
    after = rows.points[0].then(b"c")
    rows.stage(np.array([0]), np.array([after.version]), np.frombuffer(after.chain, "<u8")[None])
    rows.seen[0] = seen
    store.close(RUN, rows)


def seen(store: Files) -> int:
    return int(store.open(RUN, State, ONE, DIM, torch.float32).seen[0])


def test_a_client_whose_file_is_damaged_begins_anew_and_the_file_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Files(tmp_path)
    step(store, 5)
    path = store.path(RUN, 3)
    data = path.read_bytes()[:-1]
    path.write_bytes(data)
    rows = store.open(RUN, State, ONE, DIM, torch.float32)
    assert rows.points[0] == Point.origin(RUN, 3) and rows.seen[0] == 0 and rows.staged.version[0] == -1
    assert float(rows.read(np.array([0])).g.abs().max()) == 0
    aside = path.with_name("client-3.state.damaged")
    assert "client-3.state is damaged" in caplog.text and aside.name in caplog.text
    assert aside.read_bytes() == data and not path.exists()
    step(store, 6)
    assert seen(store) == 6
    store.forget(RUN, ONE)
    assert not any(tmp_path.iterdir())


def test_an_older_task_of_a_client_does_not_undo_what_a_newer_one_kept(tmp_path: Path) -> None:
    store = Files(tmp_path)
    step(store, 5)
    slow = store.open(RUN, State, ONE, DIM, torch.float32)
    slow.seen[0] = 6
    step(store, 7)
    with pytest.raises(Refused, match=r"stale: .*client-3\.state is newer"):
        store.close(RUN, slow)
    assert seen(store) == 7
    slow.seen[0] = 7  # the same instruction twice at the same time
    store.close(RUN, slow)


def test_a_client_whose_disk_is_full_keeps_what_it_had(tmp_path: Path) -> None:
    store = Files(tmp_path, durable=True)
    step(store, 5)
    for place in STEPS[:3]:
        with arm(f"{place}:enospc"), pytest.raises(Refused, match="storage"):
            step(store, 6)
        assert seen(store) == 5


def test_a_read_only_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(Refused, match=r"storage: .*Read-only file system"):
        files.place(tmp_path / "a", b"1")
