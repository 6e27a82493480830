"""A disk of a few MiB that really fills up: what cannot be written is refused, and goes on once there is room."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fl_ef21 import cut
from fl_ef21.errors import Refused
from strategies.journal import Journal
from strategies.rounds import Commit
from tests import killing

ROOT = Path(__file__).resolve().parent.parent.parent


def large(round: int) -> Commit:
    payloads = [np.random.default_rng([round, client]).bytes(50000) for client in range(4)]
    return Commit(round, np.arange(4), payloads, (), (), bytes(16))


def fill(folder: Path) -> None:
    """In a process of its own, whose `folder` is that disk."""
    journal = Journal.open(folder / "journal.sqlite", killing.RUN, create=True)
    killing.seed_cut(folder)
    killing.seed_state(folder / "client")
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(7 << 20))  # the log is moved into the file later, which takes its room again
    last = commit_until_full(journal, 1)
    (folder / "crumbs").write_bytes(bytes(free := shutil.disk_usage(folder).free))
    for write in (lambda: killing.stage(folder / "client", 3), lambda: killing.write_cut(folder, "b", 8)):
        try:
            write()
        except Refused as why:
            assert why.reason == "storage" and "are free there" in str(why), why
        else:
            raise AssertionError("it was written to a full disk")
    assert killing.look_at_cuts(folder) == 7 and killing.look_at_state(folder / "client") == 2
    ballast.unlink()
    assert all(journal.commit(0, large(round), {}) for round in range(last + 1, last + 4))
    journal.close()
    journal = Journal.open(folder / "journal.sqlite", killing.RUN, create=False)
    assert [killing.same(one, large(one.round)) for one in journal.commits(0, 0)] == [True] * (last + 3)
    killing.stage(folder / "client", 3)
    killing.write_cut(folder, "b", 8)
    assert cut.newest(folder / "cuts", killing.RUN, 0) and killing.look_at_state(folder / "client") == 3
    print(f"went on after round {last}, when {free} bytes were free")


def commit_until_full(journal: Journal, round: int) -> int:
    """The last round that found room; the next one is refused, twice, and changes nothing."""
    try:
        while True:
            assert journal.commit(0, large(round), {})
            round += 1
    except Refused as why:
        assert why.reason == "storage" and f"round {round} of" in str(why) and "are free there" in str(why), why
    with pytest.raises(Refused, match="storage"):
        journal.commit(0, large(round), {})
    assert [one.round for one in journal.commits(0, 0)] == list(range(1, round))
    return round - 1


@pytest.mark.nightly
def test_a_disk_that_is_full_is_named_and_all_goes_on_once_there_is_room(tmp_path: Path) -> None:
    mounted = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=12m none "$0" && exec "$@"', str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run([*mounted, "true"], capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    program = "import sys, pathlib; from tests.protocol.test_full import fill; fill(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [*mounted, sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and "went on after round" in done.stdout, done.stderr
