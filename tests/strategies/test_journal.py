"""The journal keeps rounds as they were committed, and whatever befalls its file is named or rolled back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fl_ef21 import files
from fl_ef21.errors import InputError, Refused
from strategies import journal as journals
from strategies.journal import Journal, Snapshot
from strategies.journal_file import hashed, key
from strategies.rounds import Commit
from tests.killing import commit_of, same

RUN = bytes(range(16))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.open(tmp_path / "journal.sqlite", RUN, create=True)
    yield made
    made.close()


def filled(journal: Journal, rounds: int, method: int = 0) -> Journal:
    for round in range(1, rounds + 1):
        assert journal.commit(method, commit_of(round), {"round": round})
    return journal


def again(journal: Journal) -> Journal:
    journal.close()
    return Journal.open(journal.path, RUN, create=False)


def holds(journal: Journal, rounds: int, method: int = 0) -> bool:
    found = list(journal.commits(method, 0))
    return len(found) == rounds and all(same(one, commit_of(one.round)) for one in found)


def of(round: int, clients: list[int], **changes: tuple[int, ...]) -> Commit:
    """Payloads say who sent them and when."""
    payloads = [bytes([round, client]) for client in clients]
    return Commit(round, np.array(clients, np.int64), payloads, changes.get("left", ()), changes.get("joined", ()), RUN)


# What was committed is what is read ---------------------------------------------------------------


def test_rounds_are_read_as_they_were_committed_also_after_it_is_opened_again(journal: Journal) -> None:
    filled(journal, 6)
    for _ in range(2):
        assert holds(journal, 6) and journal.last(0) == 6
        assert [one.round for one in journal.commits(0, 2, 4)] == [3, 4]
        assert list(journal.rounds(0)) == [(r, commit_of(r).digest, {"round": r}) for r in range(1, 7)]
        journal = again(journal)
    journal.close()


def test_methods_do_not_mix_and_each_has_its_outcome(journal: Journal) -> None:
    filled(filled(journal, 3, 0), 2, 5)
    journal.finish(5, {"loss": 0.5})
    journal = again(journal)
    assert holds(journal, 3, 0) and holds(journal, 2, 5) and journal.last(1) == 0
    assert journal.finished(0) is None and journal.finished(5) == {"loss": 0.5}
    journal.commit(5, commit_of(3), {})
    assert journal.finished(5) is None  # it goes on
    journal.close()


def test_a_round_that_comes_again_is_compared_and_a_different_one_takes_its_place(journal: Journal) -> None:
    filled(journal, 5)
    assert journal.commit(0, commit_of(4), {"other": "note"}) and holds(journal, 5)
    one = commit_of(3)
    for other in (
        Commit(3, one.clients, one.payloads, (), (), bytes(16)),
        Commit(3, one.clients, one.payloads, (1,), (), one.digest),
        Commit(3, one.clients, [one.payloads[0][:-1] + b"?", *one.payloads[1:]], (), (), one.digest),
        Commit(3, one.clients, [b"".join(one.payloads[:2]), b"", *one.payloads[2:]], (), (), one.digest),
    ):
        assert not journal.commit(0, other, {})
        journal = again(journal)
        found = list(journal.commits(0, 0))
        assert [one.round for one in found] == [1, 2, 3] and same(found[2], other)
        assert not journal.commit(0, commit_of(3), {"round": 3})
    assert journal.commit(0, commit_of(4), {}) and holds(again(journal), 4)


def test_rounds_may_be_left_out_but_not_put_in_later(journal: Journal) -> None:
    for round in (1, 4):
        assert journal.commit(0, commit_of(round), {})
    assert [one.round for one in journal.commits(0, 0)] == [1, 4]
    assert not journal.commit(0, commit_of(2), {}) and [one.round for one in journal.commits(0, 0)] == [1, 2]
    with pytest.raises(InputError, match="round = 0"):
        journal.commit(0, commit_of(0), {})


def test_a_round_larger_than_a_row_may_be_lies_in_several(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "PART", 120)
    filled(journal, 4)
    assert holds(journal, 4) and journal._db.execute("SELECT max(part) FROM body").fetchone()[0] >= 9


def test_rounds_may_be_committed_while_older_ones_are_read(journal: Journal) -> None:
    filled(journal, 3)
    found = 0
    for one in journal.commits(0, 0):
        found += 1
        assert same(one, commit_of(one.round))
        if one.round < 7:
            journal.commit(0, commit_of(one.round + 1), {})
    assert found == 7


# Clients ------------------------------------------------------------------------------------------


def test_payloads_of_a_client_by_version(journal: Journal) -> None:
    for one in (of(1, [1, 2]), of(2, [2]), of(3, [1, 2]), of(4, [1], left=(2,)), of(5, [2], joined=(2,)), of(6, [2])):
        journal.commit(0, one, {})
    assert journal.payloads(0, 1, 0) == [b"\1\1", b"\3\1", b"\4\1"]
    assert journal.payloads(0, 1, 1) == [b"\3\1", b"\4\1"]
    assert journal.payloads(0, 2, 0) == [b"\5\2", b"\6\2"]  # since it joined again
    assert journal.payloads(0, 9, 0) == []
    assert [(one.left, one.joined) for one in journal.commits(0, 3, 5)] == [((2,), ()), ((), (2,))]


def test_folded_payloads_give_way_to_snapshots_once_no_cut_needs_them(journal: Journal) -> None:
    rounds = {round: of(round, [1, 2] if round % 2 else [1]) for round in range(1, 8)}
    for one in rounds.values():
        journal.commit(0, one, {})
    snapshots = {1: Snapshot(4, b"c" * 16, b"g1"), 2: Snapshot(2, b"d" * 16, b"g2")}
    with pytest.raises(InputError, match="client 2 has sent something too"):
        journal.fold(0, 4, {1: snapshots[1]}, before=7)
    assert journal.fold(0, 4, snapshots, before=3) == 0  # a cut of round 3 still needs what follows it
    assert [one.round for one in journal.commits(0, 0)] == list(rounds) and journal.snapshot(0, 1) is None
    assert journal.payload_bytes(0, 4) == 12
    journal = again(journal)
    assert journal.fold(0, 0, {}, before=5) == 4 and journal.payload_bytes(0, 4) == 0
    journal = again(journal)
    assert journal.folded(0) == 4 and journal.snapshot(0, 1) == snapshots[1]
    assert journal.payloads(0, 1, 4) == [b"\5\1", b"\6\1", b"\7\1"] and journal.payloads(0, 2, 3) == [b"\7\2"]
    with pytest.raises(Refused, match="payloads up to version 4 are folded"):
        journal.payloads(0, 1, 3)
    assert [one.round for one in journal.commits(0, 4)] == [5, 6, 7]
    with pytest.raises(Refused, match="payloads of round 2 are folded"):
        list(journal.commits(0, 1))
    assert journal.commit(0, rounds[2], {})  # still known to be the same
    with pytest.raises(Refused, match="round 2 is folded"):
        journal.commit(0, of(2, [2]), {})
    assert not journal.commit(0, of(5, [2]), {}) and journal.payloads(0, 2, 2) == [b"\5\2"]
    journal.close()


def test_what_is_folded_takes_no_room(journal: Journal) -> None:
    grown = []
    for round in range(1, 61):
        journal.commit(0, Commit(round, np.arange(2), [bytes(40000)] * 2, (), (), RUN), {})
        if round % 10 == 0:
            held = {client: Snapshot(round, RUN, bytes(5000)) for client in range(2)}
            journal.fold(0, round, held, before=round)
            grown.append(journal.nbytes())
    assert grown[-1] == grown[1]


# Who may write ------------------------------------------------------------------------------------


def test_every_opening_is_a_term_and_the_older_server_is_fenced(journal: Journal) -> None:
    filled(journal, 2)
    newer = Journal.open(journal.path, RUN, create=True)
    assert (journal.term, newer.term) == (1, 2)
    with pytest.raises(Refused, match=r"term: .*newer server, term 2; this one is 1"):
        journal.commit(0, commit_of(3), {})
    assert newer.commit(0, commit_of(3), {"round": 3}) and holds(newer, 3)
    newer.close()


def test_a_reader_sees_what_is_committed_and_changes_nothing(journal: Journal) -> None:
    filled(journal, 2)
    reader = Journal.read(journal.path, RUN)
    assert holds(reader, 2) and reader.term == 1 and Journal.read(journal.path).identity == RUN
    assert journal.commit(0, commit_of(3), {}) and holds(reader, 3)
    with pytest.raises(Refused, match="readonly"):
        reader.commit(0, commit_of(4), {})
    reader.close()
    assert journal.commit(0, commit_of(4), {}) and holds(journal, 4)


def test_a_journal_that_another_process_is_writing_is_refused(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    other = sqlite3.connect(journal.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Refused, match="in use by another process"):
        Journal.open(journal.path, RUN, create=False)
    other.close()
    assert journal.commit(0, commit_of(1), {})


def test_the_journal_of_another_run_is_refused(journal: Journal) -> None:
    with pytest.raises(InputError, match=f"is of the run {RUN.hex()}, this one is {bytes(16).hex()}"):
        Journal.open(journal.path, bytes(16), create=True)


def test_a_journal_that_is_not_there_is_refused_unless_it_may_be_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.sqlite"
    with pytest.raises(InputError, match="is not there"):
        Journal.open(path, RUN, create=False)
    Journal.open(path, RUN, create=True).close()
    assert Journal.read(path, RUN).last(0) == 0


# A disk that is full ------------------------------------------------------------------------------


def test_a_full_disk_is_named_and_the_journal_goes_on_once_there_is_room(journal: Journal) -> None:
    filled(journal, 3)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages + 2}")  # SQLite then says what it says of a full disk
    large = Commit(4, np.arange(3), [bytes(100000)] * 3, (), (), RUN)
    for _ in range(2):
        with pytest.raises(Refused, match=r"storage: .* 300000 bytes cannot be written: .*full.*round 4.*are free"):
            journal.commit(0, large, {})
        assert holds(journal, 3)
    journal._db.execute("PRAGMA max_page_count = 100000")
    assert journal.commit(0, large, {})
    journal = again(journal)
    assert journal.last(0) == 4
    journal.close()


# A file that is not what was written --------------------------------------------------------------

TRICKS = {
    "a round is missing": "DELETE FROM round WHERE id = 2",
    "the last round is missing": "DELETE FROM round WHERE id = 5",
    "rounds change places": "UPDATE round SET id = CASE id WHEN 2 THEN 30 ELSE id END;"
    "UPDATE round SET id = 2 WHERE id = 3; UPDATE round SET id = 3 WHERE id = 30",
    "a digest": "UPDATE round SET digest = zeroblob(16) WHERE id = 3",
    "a note": "UPDATE round SET note = '{}' WHERE id = 3",
    "who left": "UPDATE round SET gone = x'01000000' WHERE id = 3",
    "who sent": "UPDATE round SET clients = sizes WHERE id = 3",
    "a type": "UPDATE round SET body = 7 WHERE id = 3",
    "nothing": "UPDATE round SET clients = NULL WHERE id = 3",
    "payloads are missing": "DELETE FROM body WHERE id = 3",
    "a head": "UPDATE method SET last = 4",
    "no head": "DELETE FROM method",
    "an outcome": "UPDATE method SET outcome = '{}'",
    "a term": "UPDATE run SET term = 0",
    "two runs": "INSERT INTO run SELECT * FROM run",
    "a table": "CREATE TABLE other (a)",
    "a column": "ALTER TABLE body RENAME COLUMN part TO first",
    "a kind of file": "PRAGMA application_id = 7",
    "a format": "PRAGMA user_version = 2",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_an_altered_journal_is_refused_by_name(journal: Journal, trick: str) -> None:
    filled(journal, 5).close()
    db = sqlite3.connect(journal.path)
    db.executescript(TRICKS[trick])
    db.close()
    for opened in (Journal.read, lambda *told: Journal.open(*told, create=True)):
        with pytest.raises(Refused, match=r"journal: .*journal\.sqlite"):
            opened(journal.path, RUN)


def test_altered_payloads_are_refused_when_read_and_mended_when_the_round_comes_again(journal: Journal) -> None:
    filled(journal, 5)
    journal._db.execute("UPDATE body SET payloads = (SELECT payloads FROM body WHERE id = 2) WHERE id = 3")
    journal = again(journal)
    assert [one.round for one in journal.commits(0, 3)] == [4, 5]
    with pytest.raises(Refused, match=r"payloads of round 3 are damaged"):
        list(journal.commits(0, 0))
    assert journal.commit(0, commit_of(3), {}) and holds(journal, 5)
    journal.close()


def test_altered_snapshots_are_refused(journal: Journal) -> None:
    journal.commit(0, of(1, [1, 2]), {})
    journal.fold(0, 1, {client: Snapshot(1, RUN, b"g" * 9) for client in (1, 2)}, before=1)
    journal._db.execute("UPDATE snapshot SET g = x'00' WHERE client = 1")
    with pytest.raises(Refused, match="snapshot of client 1 is not what was written"):
        journal.snapshot(0, 1)
    row = (key(0, 1), 1, hashed("other"), 1, RUN, b"")
    journal._db.execute("INSERT OR REPLACE INTO snapshot VALUES (?, ?, ?, ?, ?, ?)", row)
    journal.close()
    with pytest.raises(Refused, match="snapshots of round 1 are not what was written"):
        Journal.open(journal.path, RUN, create=False)


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\0" + bytes(100), bytes(40000), b"text " * 9000])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(content)
    for create in (True, False):
        with pytest.raises(Refused, match=r"journal\.sqlite is damaged"):
            Journal.open(path, RUN, create=create)
    assert path.read_bytes() == content
