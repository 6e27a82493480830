"""Kills a process at any system call or failpoint of one write, and says what is left on the disk.

A warm process, `python -m tests.killing`, forks a child for every trial: the child gets ready, lets itself be traced by
strace where system calls are meant, writes, and fails where it was told to.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clients.ef21 import State
from fl_ef21 import cut, failpoints
from fl_ef21.commit import Point
from fl_ef21.errors import Refused
from fl_ef21.store import Files
from strategies.journal import Journal
from strategies.rounds import Commit

ROOT = Path(__file__).resolve().parent.parent
STRACE = shutil.which("strace")
CALLS = (
    "write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,ftruncate,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir"
)
DONE, REFUSED, BROKEN = 0, 3, 5  # how a child ends: written, written once the disk let it, neither
KILLED = -9
RUN = bytes(range(16))
ONE = range(3, 4)
DIM = 50
ROUNDS = 3  # that were committed before the write


def commit_of(round: int) -> Commit:
    """A round whose content follows from its number."""
    rng = np.random.default_rng(round)
    clients = np.sort(rng.choice(40, 20, replace=False))
    return Commit(round, clients, [rng.bytes(50 * (round % 5)) for _ in clients], (), (), rng.bytes(16))


def same(a: Commit, b: Commit) -> bool:
    return (a.round, a.left, a.joined, a.digest, list(a.payloads), a.clients.tolist()) == (
        b.round, b.left, b.joined, b.digest, list(b.payloads), b.clients.tolist(),
    )  # fmt: skip


# What is written ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A write that takes what lies in a folder from state `before` to `after`, one by one.

    Attributes:
      seed: makes the folder at state `before`.
      ready: opens what is needed and returns the write itself, which may be tried again.
      look: the state it is at, every byte of it compared; what is between two states is an error.
    """

    before: int
    after: int
    seed: Callable[[Path], None]
    ready: Callable[[Path], Callable[[], None]]
    look: Callable[[Path], int]


def seed_journal(folder: Path) -> None:
    journal = Journal.open(folder / "journal.sqlite", RUN, create=True)
    for round in range(1, ROUNDS):
        journal.commit(0, commit_of(round), {"round": round})
    journal.close()


def open_journal(folder: Path) -> Journal:
    journal = Journal.open(folder / "journal.sqlite", RUN, create=False)
    journal.commit(0, commit_of(ROUNDS), {"round": ROUNDS})  # the log is not empty
    return journal


def commit(folder: Path) -> Callable[[], None]:
    journal = open_journal(folder)
    return lambda: committed(journal)


def committed(journal: Journal) -> None:
    assert journal.commit(0, commit_of(ROUNDS + 1), {"round": ROUNDS + 1})


def commit_and_checkpoint(folder: Path) -> Callable[[], None]:
    journal = open_journal(folder)
    journal._db.execute("PRAGMA wal_autocheckpoint = 1")
    return lambda: committed(journal)


def replace_rounds(folder: Path) -> Callable[[], None]:
    journal = Journal.open(folder / "journal.sqlite", RUN, create=False)
    for round in (ROUNDS, ROUNDS + 1):  # which are not what is said of them
        journal.commit(0, Commit(round, np.arange(3), [b"x" * 40000] * 3, (1,), (), bytes(16)), {})

    def write() -> None:
        for round in (ROUNDS, ROUNDS + 1):
            journal.commit(0, commit_of(round), {"round": round})

    return write


def look_at_journal(folder: Path) -> int:
    journal = Journal.open(folder / "journal.sqlite", RUN, create=False)
    found = list(journal.commits(0, 0))
    assert all(same(one, commit_of(round)) for round, one in enumerate(found, 1)), "a round is not what was committed"
    assert [note for *_, note in journal.rounds(0)] == [{"round": one.round} for one in found]
    assert journal.commit(0, commit_of(len(found) + 1), {"round": len(found) + 1}), "it cannot go on"
    journal.close()
    return len(found)


def look_at_replaced(folder: Path) -> int:
    journal = Journal.open(folder / "journal.sqlite", RUN, create=False)
    found = [same(one, commit_of(one.round)) for one in journal.commits(0, 0)]
    journal.close()
    return [[True, True, False, False], [True, True, True], [True, True, True, True]].index(found)


def create(folder: Path) -> Callable[[], None]:
    return lambda: seed_journal(folder / "new")


def look_at_created(folder: Path) -> int:
    """How many rounds are in it, and one more, for there may be no file."""
    path = folder / "new" / "journal.sqlite"
    there = path.exists()
    journal = Journal.open(path, RUN, create=True)
    found = [same(one, commit_of(one.round)) for one in journal.commits(0, 0)]
    journal.close()
    assert all(found)
    return len(found) + there


def tensors_of(round: int) -> dict[str, torch.Tensor]:
    return {"x": torch.full((DIM,), float(round)), "g": torch.full((DIM,), -float(round), dtype=torch.float64)}


def write_cut(folder: Path, name: str, round: int) -> None:
    with cut.Writer(folder / "cuts" / name, durable=True) as writer:
        writer.add("server", tensors_of(round), {"round": round})
        writer.add("clients-0-3", tensors_of(round + 1000), {})
        writer.seal({"round": round, "method": 0, "identity": RUN.hex()})


def seed_cut(folder: Path) -> None:
    write_cut(folder, "a", 7)


def look_at_cuts(folder: Path) -> int:
    found = cut.newest(folder / "cuts", RUN, 0)
    assert found is not None, "no cut is left"
    round = int(found.about["round"])
    for name, number in (("server", round), ("clients-0-3", round + 1000)):
        tensors, _ = found.load(name)
        assert all(torch.equal(tensors[key], value) for key, value in tensors_of(number).items())
    kept = cut.keep(folder / "cuts")
    assert kept[-1].about["round"] == round
    assert {path.name for path in (folder / "cuts").iterdir()} <= {"a", "b"}, "something is left over"
    return round


def stage(folder: Path, version: int) -> None:
    """The client goes on from its file: the server holds what was staged there, and a step is staged beside it."""
    store = Files(folder, durable=True)
    rows = store.open(RUN, State, ONE, DIM, torch.float32)
    held = point_of(version - 1)
    chain = np.frombuffer(held.chain, "<u8")[None]
    assert rows.settle(np.array([0]), np.array([held.version]), chain)[0]
    v = torch.full((1, DIM), float(version))
    rows.write(np.array([0]), State(v=v, g=-v))
    rows.stage(np.array([0]), np.array([version]), np.frombuffer(point_of(version).chain, "<u8")[None])
    rows.seen[0] = version
    store.close(RUN, rows)


def point_of(version: int) -> Point:
    point = Point.origin(RUN, ONE.start)
    for number in range(1, version + 1):
        point = point.then(bytes([number]))
    return point


def seed_state(folder: Path) -> None:
    for version in (1, 2):
        stage(folder, version)


def look_at_state(folder: Path) -> int:
    rows = Files(folder, durable=True).open(RUN, State, ONE, DIM, torch.float32)
    seen = int(rows.seen[0])
    assert rows.points[0] == point_of(seen - 1) and rows.staged[0] == point_of(seen)
    s = rows.read(np.array([0]))
    assert torch.equal(s.v, torch.full((1, DIM), float(seen - 1))) and torch.equal(s.g, -s.v)
    assert settled(rows, seen) and torch.equal(rows.read(np.array([0])).v, torch.full((1, DIM), float(seen)))
    left = [path.name for path in folder.rglob("*") if path.is_file()]
    assert left == ["client-3.state"], f"something is left over: {left}"
    return seen


def settled(rows: Any, version: int) -> bool:
    chain = np.frombuffer(point_of(version).chain, "<u8")[None]
    return bool(rows.settle(np.array([0]), np.array([version]), chain)[0])


TASKS = {
    "commit": Task(ROUNDS, ROUNDS + 1, seed_journal, commit, look_at_journal),
    "commit and checkpoint": Task(ROUNDS, ROUNDS + 1, seed_journal, commit_and_checkpoint, look_at_journal),
    "replace rounds": Task(0, 2, seed_journal, replace_rounds, look_at_replaced),
    "create": Task(0, ROUNDS, lambda folder: None, create, look_at_created),
    "cut": Task(7, 8, seed_cut, lambda folder: lambda: write_cut(folder, "b", 8), look_at_cuts),
    "cut in place of another": Task(7, 8, seed_cut, lambda folder: lambda: write_cut(folder, "a", 8), look_at_cuts),
    "stage": Task(2, 3, seed_state, lambda folder: lambda: stage(folder, 3), look_at_state),
}


# The warm process ---------------------------------------------------------------------------------


def serve() -> None:
    """A trial for every line; the answer is how the child ended."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        asked = json.loads(line)
        heard, ready = os.pipe()
        child = os.fork()
        if child == 0:
            _trial(ready, **asked)
        os.close(ready)
        os.read(heard, 1)
        os.close(heard)
        tracer = _trace(child, Path(asked["log"]), asked["inject"]) if asked["log"] else None
        _, status = os.waitpid(child, 0)
        if tracer is not None:
            tracer.wait()
        print(os.waitstatus_to_exitcode(status), flush=True)


def _trial(ready: int, task: str, folder: str, fail: str, log: str, inject: str) -> None:
    """In the child: never returns."""
    code = BROKEN
    try:
        write = TASKS[task].ready(Path(folder))
        os.write(ready, b"!")
        if log:
            _wait_for_tracer()
        with failpoints.arm(fail):
            code = _written(write)
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _written(write: Callable[[], None]) -> int:
    """Whether it was written, at once or after the disk refused."""
    try:
        write()
    except Refused as why:
        if why.reason != "storage":
            raise
        write()
        return REFUSED
    return DONE


def _wait_for_tracer() -> None:
    deadline = time.monotonic() + 10
    while "TracerPid:\t0\n" in Path("/proc/self/status").read_text():
        if time.monotonic() > deadline:
            raise OSError(errno.EPERM, "strace did not attach")
        time.sleep(0.001)


def _trace(child: int, log: Path, inject: str) -> subprocess.Popen[bytes]:
    assert STRACE is not None
    told = ["-e", f"inject={inject}"] if inject else []
    given = [STRACE, "-q", "-o", str(log), "-e", f"trace={CALLS}", *told, "-p", str(child)]
    return subprocess.Popen(given, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Warm:
    """The warm process, and the folders of its trials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._trials = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killing"], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def trial(self, name: str, fail: str = "", inject: str = "", trace: bool = False) -> tuple[int, Path]:
        """How a child ended that wrote `name` on a fresh copy of its seed, and the copy."""
        seed = self.folder / "seeds" / name
        if not seed.exists():
            seed.mkdir(parents=True)
            TASKS[name].seed(seed)
        self._trials += 1
        folder = self.folder / f"{self._trials}"
        shutil.copytree(seed, folder)
        log = str(self.folder / f"{self._trials}.strace") if trace or inject else ""
        asked = {"task": name, "folder": str(folder), "fail": fail, "log": log, "inject": inject}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline()), folder

    def calls(self, name: str) -> list[str]:
        """The system calls of one undisturbed write, in order; none where strace is not allowed to look."""
        code, folder = self.trial(name, trace=True)
        log = folder.with_suffix(".strace").read_text() if code == DONE else ""
        return [line for line in log.splitlines() if re.match(r"\w+\(.* = ", line)]


def numbered(calls: Sequence[str]) -> list[tuple[str, int]]:
    """The name of each call, and the how manieth of that name it is: so strace counts them."""
    names = [call.partition("(")[0] for call in calls]
    return [(name, names[: at + 1].count(name)) for at, name in enumerate(names)]


if __name__ == "__main__":
    serve()
