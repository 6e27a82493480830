"""Whatever bytes of a journal are lost or changed: it is refused by name, or it holds an earlier round as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fl_ef21.errors import Refused
from strategies.journal import Journal
from tests.killing import commit_of, same

RUN = bytes(range(16))
BEFORE, AFTER = 4, 8  # rounds in the file, and with those in the log
SECTOR = 512  # bytes that a disk writes as one
tried = settings(max_examples=120, deadline=None)
nightly = pytest.mark.nightly
places = st.floats(0, 1, exclude_max=True)


@dataclass(frozen=True)
class Bytes:
    """A journal as it lies on the disk while it is open: the file, its log, and both before the last commit."""

    file: bytes
    log: bytes
    log_before: bytes
    checkpointed: bytes  # the file once the log has been moved into it
    folder: Path

    def opened(self, file: bytes, log: bytes | None) -> int:
        """The last round of a journal of these bytes, each compared with what was committed. Raises: Refused."""
        path = self.folder / "journal.sqlite"
        for left in self.folder.iterdir():
            left.unlink()
        path.write_bytes(file)
        if log is not None:
            path.with_name("journal.sqlite-wal").write_bytes(log)
        journal = Journal.read(path, RUN)
        try:
            found = list(journal.commits(0, 0))
            assert [one.round for one in found] == list(range(1, journal.last(0) + 1))
            assert all(same(one, commit_of(one.round)) for one in found)
            assert list(journal.rounds(0)) == [(one.round, one.digest, {"round": one.round}) for one in found]
        finally:
            journal.close()
        return len(found)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Bytes:
    path = tmp_path_factory.mktemp("whole") / "journal.sqlite"
    log = path.with_name("journal.sqlite-wal")
    journal = Journal.open(path, RUN, create=True)
    for round in range(1, AFTER + 1):
        if round == BEFORE + 1:
            journal.close()
            journal = Journal.open(path, RUN, create=False)
        if round == AFTER:
            before = log.read_bytes()
        journal.commit(0, commit_of(round), {"round": round})
    file, written = path.read_bytes(), log.read_bytes()
    journal.close()
    return Bytes(file, written, before, path.read_bytes(), tmp_path_factory.mktemp("damaged"))


def flipped(data: bytes, flips: Sequence[tuple[float, int]]) -> bytes:
    changed = bytearray(data)
    for place, flip in flips:
        changed[int(place * len(data))] ^= flip
    return bytes(changed)


def torn(before: bytes, after: bytes, kept: Sequence[bool]) -> bytes:
    """`after`, of whose sectors that differ from `before` only some have reached the disk."""
    padded, sectors = before.ljust(len(after), b"\0"), bytearray(after)
    new = [at for at in range(0, len(after), SECTOR) if padded[at : at + SECTOR] != after[at : at + SECTOR]]
    for number, at in enumerate(new):
        if not kept[number % len(kept)]:
            sectors[at : at + SECTOR] = padded[at : at + SECTOR]
    return bytes(sectors)


def test_the_files_are_what_these_tests_take_them_for(disk: Bytes) -> None:
    assert disk.opened(disk.file, disk.log) == AFTER == disk.opened(disk.checkpointed, None)
    assert disk.opened(disk.file, disk.log_before) == AFTER - 1
    assert disk.opened(disk.file, None) == BEFORE  # the log is deleted


def test_a_changed_or_shortened_log_is_an_earlier_round(disk: Bytes) -> None:
    @tried
    @example(flips=[], cut=0.0)
    @given(flips=st.lists(st.tuples(places, st.integers(1, 255)), max_size=3), cut=st.none() | places)
    def rolled_back(flips: list[tuple[float, int]], cut: float | None) -> None:
        log = flipped(disk.log, flips)
        assert BEFORE <= disk.opened(disk.file, log if cut is None else log[: int(cut * len(log))]) <= AFTER

    rolled_back()


def test_a_commit_of_which_only_some_sectors_were_written_is_there_or_is_not(disk: Bytes) -> None:
    """As after a power cut before the disk said that it had them."""

    @tried
    @example(kept=[True])
    @example(kept=[False])
    @given(kept=st.lists(st.booleans(), min_size=1, max_size=300))
    def whole(kept: list[bool]) -> None:
        log = torn(disk.log_before, disk.log, kept)
        assert disk.opened(disk.file, log) == (AFTER if log == disk.log else AFTER - 1)

    whole()


def test_a_log_that_was_half_moved_into_the_file_loses_nothing(disk: Bytes) -> None:
    @tried
    @given(kept=st.lists(st.booleans(), min_size=1, max_size=300))
    def whole(kept: list[bool]) -> None:
        assert disk.opened(torn(disk.file, disk.checkpointed, kept), disk.log) == AFTER

    whole()


def test_a_half_moved_log_that_is_then_deleted_is_never_read_wrong(disk: Bytes) -> None:
    @tried
    @given(kept=st.lists(st.booleans(), min_size=1, max_size=300))
    def right(kept: list[bool]) -> None:
        file = torn(disk.file, disk.checkpointed, kept)
        try:
            assert disk.opened(file, None) in (BEFORE, AFTER)
        except Refused as why:
            assert why.reason == "journal"

    right()


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=nightly)])
def test_a_changed_file_is_refused_or_right(disk: Bytes, examples: int) -> None:
    ends = set[object]()

    @settings(max_examples=examples, deadline=None)
    @example(flips=[(0.0, 1)], log=False)
    @example(flips=[(30 / len(disk.checkpointed), 1)], log=False)
    @given(
        flips=st.lists(st.tuples(places | used(disk), st.integers(1, 255)), min_size=1, max_size=4), log=st.booleans()
    )
    def right(flips: list[tuple[float, int]], log: bool) -> None:
        file = flipped(disk.file if log else disk.checkpointed, flips)
        try:
            ends.add(disk.opened(file, disk.log if log else None))
        except Refused as why:
            assert why.reason in ("journal", "storage"), why
            ends.add(why.reason)

    right()
    assert ends <= {AFTER, "journal", "storage"} and AFTER in ends and "journal" in ends


def used(disk: Bytes) -> st.SearchStrategy[float]:
    """Places of the file that are not zero: most of it is empty room."""
    at = [place / len(disk.checkpointed) for place, byte in enumerate(disk.checkpointed) if byte]
    return st.sampled_from(at)


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=nightly)])
def test_a_shortened_file_is_refused_or_right(disk: Bytes, examples: int) -> None:
    ends = set[object]()

    @settings(max_examples=examples, deadline=None)
    @example(length=0.0, page=False)
    @given(length=places, page=st.booleans())
    def right(length: float, page: bool) -> None:
        size = int(length * len(disk.checkpointed))
        size -= size % (1 << 15) if page else 0
        try:  # what is cut off may have been empty room
            ends.add(disk.opened(disk.checkpointed[:size], None))
        except Refused as why:
            assert "journal.sqlite" in str(why)
            ends.add(why.reason)

    right()
    assert "journal" in ends and ends <= {AFTER, "journal"}


def test_a_file_of_another_run_with_this_ones_log_is_refused(disk: Bytes, tmp_path: Path) -> None:
    other = Journal.open(tmp_path / "journal.sqlite", bytes(16), create=True)
    other.commit(0, commit_of(1), {})
    other.close()
    with pytest.raises((Refused, ValueError), match=r"journal"):
        disk.opened((tmp_path / "journal.sqlite").read_bytes(), disk.log)
    shutil.rmtree(tmp_path)
