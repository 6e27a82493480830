"""The journal's file: its tables, how it is opened, and what must be so before a byte of it is believed.

Rounds of a method are a chain: the digest of each goes on from the one before, and the last one stands in the method's
own row. A record that is missing, altered or out of order therefore shows, and where the write-ahead log is lost SQLite
falls back to an earlier transaction, which is an earlier round as a whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from fl_ef21 import files
from fl_ef21.errors import InputError, Refused
from strategies.rounds import Commit

APPLICATION, FORMAT = int.from_bytes(b"EF21", "big"), 1
PAGE = 1 << 15  # bytes; most of a journal is long runs of payloads
LOG = 1024  # pages of the write-ahead log before they are moved into the file
CACHE = 16384  # KiB of pages in memory; a round that fits is written once, when it is committed
LAST = 0xFFFFFFFF  # the largest round there may be
STORAGE = (3, 8, 10, 13, 14)  # SQLite's PERM, READONLY, IOERR, FULL and CANTOPEN
BUSY, FULL = (5, 6), 13

# A row of `round` is small and all of them are read when a journal is opened; `body` has the payloads one after another
# in as few rows as they fit in, `part` 0, 1, 2 of the round.
TABLES = {
    "run": "CREATE TABLE run (identity BLOB, term INTEGER, digest BLOB)",
    "method": "CREATE TABLE method (method INTEGER PRIMARY KEY,"
    " last INTEGER, chain BLOB, folded INTEGER, held BLOB, outcome TEXT, digest BLOB)",
    "round": "CREATE TABLE round (id INTEGER PRIMARY KEY,"
    " digest BLOB, note TEXT, body BLOB, gone BLOB, come BLOB, clients BLOB, sizes BLOB)",
    "body": "CREATE TABLE body (id INTEGER, part INTEGER, payloads BLOB, PRIMARY KEY (id, part))",
    "snapshot": "CREATE TABLE snapshot (id INTEGER, client INTEGER, digest BLOB, version INTEGER, chain BLOB, g BLOB,"
    " PRIMARY KEY (id, client))",
}
RECORD = "id, digest, note, body, gone, come, clients, sizes"


@dataclass(frozen=True)
class Record:
    """A round as it lies in the file, without its payloads; `body` is their digest."""

    id: int
    digest: bytes
    note: str
    body: bytes
    gone: bytes
    come: bytes
    clients: bytes
    sizes: bytes

    @staticmethod
    def of(method: int, commit: Commit, note: str) -> Record:
        sizes = np.array([len(payload) for payload in commit.payloads], "<u4")
        return Record(
            key(method, commit.round), commit.digest, note, joint(commit.payloads), packed(commit.left),
            packed(commit.joined), packed(commit.clients), sizes.tobytes(),
        )  # fmt: skip

    @property
    def round(self) -> int:
        return self.id & LAST

    def then(self, chain: bytes) -> bytes:
        """The chain after this record."""
        return hashed(chain, self.id, self.digest, self.note, self.body, self.gone, self.come, self.clients, self.sizes)

    def equal(self, other: Record) -> bool:
        """Whether the same happened in both; what is noted beside it may differ."""
        return replace(self, note="") == replace(other, note="")

    def members(self) -> np.ndarray[Any, Any]:
        """The clients of the payloads, (m,) int64."""
        return unpacked(self.clients)

    def changed(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Who left, and who joined."""
        return tuple(unpacked(self.gone).tolist()), tuple(unpacked(self.come).tolist())


@dataclass(frozen=True)
class Head:
    """Where a method's chain ends.

    Attributes:
      folded: up to this round payloads are gone and snapshots stand for them; `held` is a digest of all of these.
    """

    method: int
    last: int
    chain: bytes
    folded: int = 0
    held: bytes = b""
    outcome: str | None = None

    def row(self) -> tuple[Any, ...]:
        mine = (self.method, self.last, self.chain, self.folded, self.held, self.outcome)
        return *mine, hashed(*mine)


def start_of(identity: bytes, method: int) -> Head:
    """Before a method's first round."""
    return Head(method, 0, hashed(identity, method))


def key(method: int, round: int) -> int:
    """The id of a round: methods one after another, rounds in order."""
    return method << 32 | round


def hashed(*parts: Any) -> bytes:
    """16 bytes over values as SQLite has them, whose types and borders matter."""
    seen = blake2b(digest_size=files.DIGEST)
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode("utf-8", "surrogatepass")
        seen.update(f"{type(part).__name__}{len(data)}:".encode())
        seen.update(data)
    return seen.digest()


def joint(payloads: Any) -> bytes:
    """16 bytes over payloads one after another; where one ends is said elsewhere."""
    seen = blake2b(digest_size=files.DIGEST)
    for payload in payloads:
        seen.update(payload)
    return seen.digest()


def packed(ids: Any) -> bytes:
    """Client numbers as four bytes each."""
    return np.asarray(ids, dtype=np.int64).astype("<u4").tobytes()


def unpacked(ids: bytes) -> np.ndarray[Any, Any]:
    """Client numbers (m,) int64."""
    return np.frombuffer(ids, "<u4").astype(np.int64)


# Reading ------------------------------------------------------------------------------------------


def records(db: sqlite3.Connection, method: int, after: int = 0, until: int = LAST) -> Iterator[Record]:
    """A method's rounds after < r <= until, in order. One look at a time: the caller may change what is to come."""
    at = key(method, after)
    ask = f"SELECT {RECORD} FROM round WHERE id > ? AND id <= ? ORDER BY id LIMIT 1"
    while row := db.execute(ask, (at, key(method, until))).fetchone():
        yield Record(*row)
        at = row[0]


def heads(db: sqlite3.Connection, path: Path, where: str = "", given: tuple[Any, ...] = ()) -> dict[int, Head]:
    """The heads of methods. Raises: Refused where one is not what was written."""
    found = {}
    for *mine, said in db.execute(f"SELECT * FROM method {where}", given).fetchall():
        if hashed(*mine) != said:
            raise damaged(path, f"what it says of method {mine[0]} is not what was written")
        found[mine[0]] = Head(*mine)
    return found


def held(db: sqlite3.Connection, method: int, round: int) -> bytes:
    """A digest of all snapshots of a round."""
    ask = "SELECT client, digest FROM snapshot WHERE id = ? ORDER BY client"
    return hashed(*db.execute(ask, (key(method, round),)).fetchall())


def check(db: sqlite3.Connection, path: Path, identity: bytes | None) -> tuple[bytes, int]:
    """Every page, every record and every link of the chain: identity and term.

    Raises: InputError if it is of another run, Refused("journal") if anything is not what was written.
    """
    db.execute("BEGIN")  # one state of it, also where another process is writing
    try:
        return _check(db, path, identity)
    finally:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")


def _check(db: sqlite3.Connection, path: Path, identity: bytes | None) -> tuple[bytes, int]:
    if dict(db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")) != TABLES:
        raise damaged(path, "its tables are not a journal's")
    if (said := pragma(db, "quick_check")) != "ok":
        raise damaged(path, f"SQLite says {said!r}")
    told = db.execute("SELECT identity, term, digest FROM run").fetchall()
    if len(told) != 1 or hashed(*told[0][:2]) != told[0][2]:
        raise damaged(path, "what it says of its run is not what was written")
    if identity not in (None, told[0][0]):
        raise InputError(
            "journal", str(path), f"is of the run {told[0][0].hex()}, this one is {(identity or b'').hex()}"
        )
    known = heads(db, path)
    if {method for (method,) in db.execute("SELECT DISTINCT id >> 32 FROM round")} - set(known):
        raise damaged(path, "it has rounds of a method that it does not know")
    for head in known.values():
        _check_chain(db, path, told[0][0], head)
    return told[0][0], told[0][1]


def _check_chain(db: sqlite3.Connection, path: Path, identity: bytes, head: Head) -> None:
    chain, last, need = start_of(identity, head.method).chain, 0, set[int]()
    for record in records(db, head.method):
        chain, last = record.then(chain), record.round
        if last > head.folded and record.clients != b"":
            need.add(record.id)
    if (chain, last) != (head.chain, head.last):
        raise damaged(path, f"the rounds of method {head.method} do not lead to round {head.last}")
    if lost := need - {id for (id,) in db.execute("SELECT id FROM body WHERE id >> 32 = ?", (head.method,))}:
        raise damaged(path, f"the payloads of round {min(lost) & LAST} are missing")
    if head.folded and held(db, head.method, head.folded) != head.held:
        raise damaged(path, f"the snapshots of round {head.folded} are not what was written")


def damaged(path: Path, why: str) -> Refused:
    return Refused("journal", f"{path} is damaged: {why}")


# Opening ------------------------------------------------------------------------------------------


def connect(path: Path, identity: bytes, create: bool) -> sqlite3.Connection:
    """The file, made where it may be and is not there. Nothing of it has been checked but its kind.

    Raises: InputError where it is not there, Refused where it is no journal or cannot be opened.
    """
    if not path.exists() and not create:
        raise InputError("journal", str(path), "is not there; a run that is to be resumed must be durable on disk")
    with speaking(path, "to open it", PAGE):
        if not path.exists():
            _make(path, identity)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=files.PATIENCE)
        try:
            if pragma(db, "application_id") != APPLICATION:
                raise damaged(path, "it is no journal, or is cut off")
            if (format := pragma(db, "user_version")) != FORMAT:
                raise Refused("journal", f"{path} has format {format}, this program reads format {FORMAT}")
            for setting in ("synchronous = FULL", "cell_size_check = ON", "trusted_schema = OFF"):
                db.execute(f"PRAGMA {setting}")
            db.execute(f"PRAGMA wal_autocheckpoint = {LOG}")
            db.execute(f"PRAGMA cache_size = {-CACHE}")
        except BaseException:
            db.close()
            raise
    return db


def _make(path: Path, identity: bytes) -> None:
    """Under another name first: what is killed here is made anew."""
    files.make_folder(path.parent, durable=True)
    born = path.with_name(f".{path.name}.born")
    for left in path.parent.glob(f"{born.name}*"):
        left.unlink()
    db = sqlite3.connect(born, isolation_level=None)
    try:
        for setting in (f"page_size = {PAGE}", "synchronous = FULL", f"application_id = {APPLICATION}"):
            db.execute(f"PRAGMA {setting}")
        db.execute("BEGIN")
        for statement in TABLES.values():
            db.execute(statement)
        db.execute("INSERT INTO run VALUES (?, 0, ?)", (identity, hashed(identity, 0)))
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
        if (mode := pragma(db, "journal_mode = WAL")) != "wal":
            raise Refused("storage", f"{path}: this file system cannot have a write-ahead log, only {mode!r}")
    finally:
        db.close()
    born.rename(path)
    files.sync_folder(path.parent)


def pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


@contextmanager
def speaking(path: Path, what: str, nbytes: int = 0) -> Iterator[None]:
    """SQLite's errors and the system's under names of our own. Raises: Refused("storage") or Refused("journal")."""
    with files.naming(path, nbytes):
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes what it found, which may not be text
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
            if code in STORAGE:
                name = getattr(error, "sqlite_errorname", "")
                raise files.storage(path, nbytes, f"{error} ({name}), {what}", code == FULL) from error
            if code in BUSY:
                raise Refused("journal", f"{path} is in use by another process: {error}") from error
            raise damaged(path, f"{error}, {what}") from error
