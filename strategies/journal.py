"""The ledger on disk: one SQLite file, in which every round is one transaction.

A round's payloads lie together, in client order: one append a round, however many clients. Whatever happens to the
process or the power, the file opens at the last round that was committed as a whole, or is refused by name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError, Refused
from fl_ef21.failpoints import failpoint
from strategies.journal_file import LAST, Head, Record, connect, hashed, held, key, records, speaking, start_of
from strategies.journal_reader import Reader, Snapshot
from strategies.rounds import Commit

__all__ = ["Journal", "Reader", "Snapshot"]

PART = 1 << 26  # bytes of payloads in one row of the file, unless one alone is larger


class Journal(Reader):
    """The rounds of a run's methods. One process at a time may write; an older one that wakes up is refused.

    Attributes:
      term: how many times a server has opened it, this one included.
    """

    @classmethod
    def open(cls, path: Path, identity: bytes, *, create: bool) -> Journal:
        """The journal of this run, checked; create: made where there is none. Raises `term` by one, for good.

        Raises: InputError where there is none or it is of another run, Refused("journal") where it is damaged or in
        use, Refused("storage") where the disk is full or fails.
        """
        journal = cls.checked(path, connect(path, identity, create), identity)
        try:
            journal._raise_term()
        except BaseException:
            journal.close()
            raise
        return journal

    def _raise_term(self) -> None:
        with self._change("a new term", 0):
            self._db.execute(
                "UPDATE run SET term = ?, digest = ?", (self.term + 1, hashed(self.identity, self.term + 1))
            )
        self.term += 1
        with suppress(sqlite3.Error):  # then a log that is lost later does not lower the term; a full disk forbids it
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # Writing --------------------------------------------------------------------------------------

    def commit(self, method: int, commit: Commit, note: Mapping[str, Any]) -> bool:
        """Keep a round in one transaction, or nothing of it.

        True where it is new, or the same as the round that is there (then its note stays). Where it differs, that
        round and those after it are replaced, and it is False.

        Raises: InputError where the round leaves no room for itself, Refused("storage") where the disk is full or
        fails: the journal is then as before and can be used again, Refused("term") where a newer server has opened it.
        """
        if not 1 <= commit.round <= LAST:
            raise InputError("round", commit.round, f"must lie in 1 .. {LAST}")
        record = Record.of(method, commit, json.dumps(note))
        with self._change(f"round {commit.round} of method {method}", sum(map(len, commit.payloads))):
            head, there = self.head(method), next(records(self._db, method, commit.round - 1, commit.round), None)
            if there is not None and there.equal(record):
                if commit.round > head.folded and not self.whole(there):
                    self._put_body(record.id, commit.payloads)
                return True
            if commit.round <= head.folded:
                raise Refused("journal", f"round {commit.round} is folded; another one cannot take its place")
            if anew := commit.round <= head.last:
                head = self._back(head, commit.round - 1)
            names = ", ".join("?" * 8)
            self._db.execute(f"INSERT INTO round VALUES ({names})", tuple(vars(record).values()))
            self._put_body(record.id, commit.payloads)
            self._put_head(replace(head, last=commit.round, chain=record.then(head.chain), outcome=None))
        return not anew

    def finish(self, method: int, outcome: Mapping[str, Any]) -> None:
        """The method is done, with this outcome."""
        with self._change(f"the outcome of method {method}", 0):
            self._put_head(replace(self.head(method), outcome=json.dumps(outcome)))

    def fold(self, method: int, round: int, snapshots: Mapping[int, Snapshot], before: int) -> int:
        """Keep snapshots of the state after `round`; drop payloads that are covered by some of a round <= `before`.

        snapshots: of all clients that sent anything up to `round` and have not left; none to only drop payloads.
        Worth it where they are smaller than `payload_bytes`. Returns the round up to which payloads are gone.

        Raises: InputError where a client has no snapshot, Refused("storage") as `commit`.
        """
        with self._change(f"snapshots of round {round}", sum(len(one.g) for one in snapshots.values())):
            head = self.head(method)
            if snapshots and head.folded < round <= head.last:
                self._keep(head, round, snapshots)
            ask = "SELECT max(id) FROM snapshot WHERE id > ? AND id <= ?"
            (upto,) = self._db.execute(ask, (key(method, head.folded), key(method, before))).fetchone()
            if upto is not None:
                self._db.execute("DELETE FROM body WHERE id >= ? AND id <= ?", (key(method, 0), upto))
                self._db.execute("DELETE FROM snapshot WHERE id >= ? AND id < ?", (key(method, 0), upto))
                head = replace(head, folded=upto & LAST, held=held(self._db, method, upto & LAST))
                self._put_head(head)
        return head.folded

    def _keep(self, head: Head, round: int, snapshots: Mapping[int, Snapshot]) -> None:
        id = key(head.method, head.folded)
        sent = {client for (client,) in self._db.execute("SELECT client FROM snapshot WHERE id = ?", (id,))}
        for record in records(self._db, head.method, head.folded, round):
            sent = (sent - set(record.changed()[0])) | set(record.members().tolist())
        if lacking := sent - set(snapshots):
            raise InputError("snapshots", sorted(snapshots), f"client {min(lacking)} has sent something too")
        id = key(head.method, round)
        rows = [
            (id, client, hashed(id, client, one.version, one.chain, one.g), one.version, one.chain, one.g)
            for client, one in sorted(snapshots.items())
        ]
        self._db.execute("DELETE FROM snapshot WHERE id = ?", (id,))
        self._db.executemany("INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _back(self, head: Head, last: int) -> Head:
        """Forget the rounds after `last`."""
        for table in ("round", "body", "snapshot"):
            self._db.execute(
                f"DELETE FROM {table} WHERE id > ? AND id <= ?", (key(head.method, last), key(head.method, LAST))
            )
        chain = start_of(self.identity, head.method).chain
        for record in records(self._db, head.method):
            chain = record.then(chain)
        return replace(head, last=last, chain=chain)

    def _put_body(self, id: int, payloads: Sequence[bytes]) -> None:
        self._db.execute("DELETE FROM body WHERE id = ?", (id,))
        parts, size = list[list[bytes]](), 0
        for payload in payloads:
            if not parts or size + len(payload) > PART:
                parts.append([])
                size = 0
            parts[-1].append(payload)
            size += len(payload)
        rows = ((id, at, b"".join(part)) for at, part in enumerate(parts))
        self._db.executemany("INSERT INTO body VALUES (?, ?, ?)", rows)

    def _put_head(self, head: Head) -> None:
        self._db.execute("INSERT OR REPLACE INTO method VALUES (?, ?, ?, ?, ?, ?, ?)", head.row())

    @contextmanager
    def _change(self, what: str, nbytes: int) -> Iterator[None]:
        """One transaction, all of it or nothing, and only while no newer server has opened the journal."""
        try:
            with speaking(self.path, f"to keep {what}", nbytes):
                self._db.execute("BEGIN IMMEDIATE")
                (term,) = self._db.execute("SELECT term FROM run").fetchone()
                if term != self.term:
                    raise Refused(
                        "term", f"{self.path} was opened by a newer server, term {term}; this one is {self.term}"
                    )
                yield
                failpoint("journal.before_commit")
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # it has been rolled back already
                self._db.execute("ROLLBACK")
            raise
        failpoint("journal.after_commit")
