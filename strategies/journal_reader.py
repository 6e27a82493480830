"""The ledger on disk, read: rounds, payloads, snapshots."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np

from fl_ef21.errors import Refused
from strategies.journal_file import (
    LAST,
    Head,
    Record,
    check,
    connect,
    damaged,
    hashed,
    heads,
    joint,
    key,
    pragma,
    records,
    speaking,
    start_of,
)
from strategies.rounds import Commit


@dataclass(frozen=True)
class Snapshot:
    """What stands for a client's first `version` payloads: its g, in whatever form the caller keeps it."""

    version: int
    chain: bytes
    g: bytes


class Reader:
    """A journal to look into, also while a run writes it.

    Attributes:
      identity: of the run, 16 bytes.
      term: how many times a server has opened it.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, identity: bytes, term: int) -> None:
        self.path, self.identity, self.term, self._db = path, identity, term, db

    @classmethod
    def read(cls, path: Path, identity: bytes | None = None) -> Self:
        """Checked, to be changed by nobody through this; `identity` None takes any run's.

        Raises: InputError where there is none or it is of another run, Refused("journal") where it is damaged.
        """
        reader = cls.checked(path, connect(path, b"", create=False), identity)
        reader._db.execute("PRAGMA query_only = ON")
        return reader

    @classmethod
    def checked(cls, path: Path, db: sqlite3.Connection, identity: bytes | None) -> Self:
        """Of a file whose every record is what was written. Raises: as `read`."""
        try:
            with speaking(path, "to check it"):
                return cls(path, db, *check(db, path, identity))
        except BaseException:
            db.close()
            raise

    def close(self) -> None:
        """What was committed is safe without it."""
        with suppress(sqlite3.Error):
            self._db.close()

    def last(self, method: int) -> int:
        """The last round of a method, 0 before the first."""
        return self.head(method).last

    def folded(self, method: int) -> int:
        """Up to this round payloads are gone, and snapshots stand for them."""
        return self.head(method).folded

    def finished(self, method: int) -> dict[str, Any] | None:
        """The outcome, if the method is done."""
        outcome = self.head(method).outcome
        return None if outcome is None else json.loads(outcome)

    def rounds(self, method: int) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
        """Number, digest and note of every round."""
        with speaking(self.path, "to read rounds"):
            for record in records(self._db, method):
                yield record.round, record.digest, json.loads(record.note)

    def commits(self, method: int, after: int, until: int | None = None) -> Iterator[Commit]:
        """The rounds after < r <= until. Raises: Refused("journal") where payloads are damaged or folded."""
        with speaking(self.path, "to read rounds"):
            for record in records(self._db, method, after, LAST if until is None else until):
                left, joined = record.changed()
                yield Commit(record.round, record.members(), self._body(record), left, joined, record.digest)

    def payloads(self, method: int, client: int, after: int) -> list[bytes]:
        """A client's payloads from version `after` on. One that has left and joins again starts at version 0.

        Raises: Refused("journal") where they are damaged, or folded into a snapshot of a later version.
        """
        with speaking(self.path, "to read payloads"):
            head = self.head(method)
            start = self.snapshot(method, client)
            version, found = start.version if start else 0, list[bytes]()
            for record in records(self._db, method, head.folded):
                if client in record.changed()[0] or client in record.changed()[1]:
                    version, found, start = 0, [], None
                for at in np.flatnonzero(record.members() == client).tolist():
                    version += 1
                    if version > after:
                        found.append(self._body(record)[at])
            if start and after < start.version:
                raise Refused("journal", f"client {client}: payloads up to version {start.version} are folded")
            return found

    def snapshot(self, method: int, client: int) -> Snapshot | None:
        """What stands for the payloads of this client that are gone. Raises: Refused("journal") where it is damaged."""
        with speaking(self.path, "to read a snapshot"):
            id = key(method, self.head(method).folded)
            ask = "SELECT digest, version, chain, g FROM snapshot WHERE id = ? AND client = ?"
            row = self._db.execute(ask, (id, client)).fetchone()
            if row is None:
                return None
            if hashed(id, client, *row[1:]) != row[0]:
                raise damaged(self.path, f"the snapshot of client {client} is not what was written")
            return Snapshot(*row[1:])

    def snapshots(self, method: int) -> int:
        """The last round of which there are snapshots, 0 where there are none."""
        with speaking(self.path, "to read snapshots"):
            ask = "SELECT max(id) FROM snapshot WHERE id >= ? AND id <= ?"
            (found,) = self._db.execute(ask, (key(method, 0), key(method, LAST))).fetchone()
            return 0 if found is None else int(found) & LAST

    def departures(self, method: int, until: int) -> Counter[int]:
        """How often each client has left up to a round."""
        with speaking(self.path, "to read rounds"):
            return Counter(i for record in records(self._db, method, 0, until) for i in record.changed()[0])

    def payload_bytes(self, method: int, until: int) -> int:
        """What the payloads up to a round weigh."""
        with speaking(self.path, "to weigh it"):
            ask = "SELECT total(length(payloads)) FROM body WHERE id >= ? AND id <= ?"
            return int(self._db.execute(ask, (key(method, 0), key(method, until))).fetchone()[0])

    def nbytes(self) -> int:
        """What is kept; the file also has room that is used again."""
        with speaking(self.path, "to weigh it"):
            pages: int = pragma(self._db, "page_count") - pragma(self._db, "freelist_count")
            return pages * int(pragma(self._db, "page_size"))

    def head(self, method: int) -> Head:
        """Where the method's chain ends."""
        with speaking(self.path, "to read it"):
            found = heads(self._db, self.path, "WHERE method = ?", (method,))
        return found.get(method) or start_of(self.identity, method)

    def whole(self, record: Record) -> bool:
        """Whether its payloads are there as they were written."""
        return joint(self._parts(record)) == record.body

    def _parts(self, record: Record) -> list[bytes]:
        ask = "SELECT payloads FROM body WHERE id = ? ORDER BY part"
        return [part for (part,) in self._db.execute(ask, (record.id,))]

    def _body(self, record: Record) -> list[bytes]:
        parts = self._parts(record)
        if joint(parts) != record.body:
            why = "folded into snapshots" if record.round <= self.head(record.id >> 32).folded else "damaged"
            raise Refused("journal", f"{self.path}: the payloads of round {record.round} are {why}")
        body, ends = b"".join(parts), list(accumulate(np.frombuffer(record.sizes, "<u4").tolist()))
        return [body[start:end] for start, end in zip([0, *ends], ends, strict=False)]
