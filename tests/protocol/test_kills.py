"""A process that is killed, or whose disk fails, at any call of any write leaves one state or the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.killing import BROKEN, DONE, KILLED, REFUSED, STRACE, TASKS, Warm, numbered

LONG = ("create", "replace rounds")  # every call nightly, some of them always
FAILPOINTS = {
    "commit": ("journal.before_commit", "journal.after_commit"),
    "cut": ("files.write", "files.sync", "files.rename", "files.sync_folder", "cut.before_rename", "cut.after_rename"),
    "cut in place of another": ("cut.before_rename", "cut.between", "cut.after_rename"),
    "stage": ("files.write", "files.sync", "files.rename", "files.sync_folder"),
}
PLACES = [(name, place) for name, places in FAILPOINTS.items() for place in places]
each = pytest.mark.parametrize(
    ("name", "step"),
    [pytest.param(name, 5 if name in LONG else 1, id=name) for name in TASKS]
    + [pytest.param(name, 1, id=f"{name}, every call", marks=pytest.mark.nightly) for name in LONG],
)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("killed"))
    yield process
    process.close()


@pytest.fixture(scope="module")
def calls(warm: Warm) -> dict[str, list[str]]:
    """The system calls of each write."""
    if STRACE is None:
        pytest.skip("there is no strace to fail system calls with")
    found = {name: warm.calls(name) for name in TASKS}
    if not all(found.values()):
        pytest.skip("strace may not look into another process here")
    return found


@each
def test_a_kill_at_any_system_call(warm: Warm, calls: dict[str, list[str]], name: str, step: int) -> None:
    task, states = TASKS[name], []
    for call, count in numbered(calls[name])[::step]:
        code, folder = warm.trial(name, inject=f"{call}:signal=SIGKILL:when={count}")
        assert code == KILLED
        states.append(task.look(folder))
    assert states[0] == task.before and states == sorted(states) and states[-1] <= task.after


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@each
def test_an_error_of_any_system_call(warm: Warm, calls: dict[str, list[str]], name: str, step: int, error: str) -> None:
    """It is named or does not matter, and once the disk is well again so is the write."""
    ends = set()
    for call, count in numbered(calls[name])[::step]:
        code, folder = warm.trial(name, inject=f"{call}:error={error}:when={count}")
        assert code != BROKEN, f"{call} {count}"
        assert TASKS[name].look(folder) == TASKS[name].after
        ends.add(code)
    assert REFUSED in ends


@pytest.mark.parametrize("name", ["commit", "cut", "stage"])
def test_nothing_is_said_to_be_kept_before_it_is_on_the_disk(calls: dict[str, list[str]], name: str) -> None:
    names = [call.partition("(")[0] for call in calls[name]]
    assert names[-1] in ("fsync", "fdatasync")
    for at, call in enumerate(names):
        if call == "rename":
            assert names[at - 1] == "fsync" and names[at + 1] == "fsync"  # the file, then its folder


@pytest.mark.parametrize(
    ("name", "place", "action"),
    [(name, place, "kill") for name, place in PLACES]
    + [(name, place, "enospc") for name, place in PLACES if ".after" not in place],
)
def test_a_failure_at_any_failpoint(warm: Warm, name: str, place: str, action: str) -> None:
    """As often as it is passed. Needs no strace."""
    task, hits, code = TASKS[name], 0, KILLED
    while code != DONE:
        hits += 1
        code, folder = warm.trial(name, fail=f"{place}:{action}:{hits}")
        assert code == DONE or code == (KILLED if action == "kill" else REFUSED)
        state = task.look(folder)
        assert state == task.after or (code == KILLED and task.before <= state)
    assert hits > 1
