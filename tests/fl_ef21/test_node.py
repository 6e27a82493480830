"""The device's process, without a SuperLink: its options, its waits, and the child in which the app answers."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fl_ef21 import flower_node
from fl_ef21.errors import InputError

OPTIONS = ["--insecure", "--superlink", "127.0.0.1:1"]


class Seen:
    def __init__(self) -> None:
        self.tasks: list[tuple[str, float]] = []
        self.exchanges: list[tuple[str, int, int]] = []

    def exchange(self, path: str, up: int, down: int, seconds: float) -> None:
        self.exchanges.append((path, up, down))

    def task(self, kind: str, seconds: float) -> None:
        self.tasks.append((kind, seconds))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of SuperNodes that would have been started."""
    words: list[list[str]] = []
    module = importlib.import_module("flwr.supernode.cli.flower_supernode")  # the package has a function of that name
    monkeypatch.setattr(module, "flower_supernode", lambda: words.append(list(sys.argv)))
    monkeypatch.setattr(flower_node, "lacking", str)
    for name in ("quicken", "outlast", "watch"):
        monkeypatch.setattr(flower_node, name, lambda *_: None)
    monkeypatch.setattr(flower_node, "Child", Nobody)
    monkeypatch.setattr(sys, "argv", ["python"])
    return words


class Nobody:
    def __init__(self, address: str, poll: float, seen: Any) -> None:
        Nobody.address, Nobody.poll = address, poll

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_flowers_options_are_passed_on_and_a_free_port_is_found(started: list[list[str]]) -> None:
    flower_node.run([*OPTIONS, "--poll", "0.25", "--node-config", "partition-id=3"])
    (words,) = started
    assert words[1:6] == [*OPTIONS, "--node-config", "partition-id=3"]
    assert words[6:10] == ["--isolation", "process", "--host", "127.0.0.1"]
    assert Nobody.address == f"127.0.0.1:{words[-1]}" and Nobody.poll == 0.25 and int(words[-1]) > 1023


def test_a_port_that_is_named_is_taken(started: list[list[str]]) -> None:
    flower_node.run([*OPTIONS, "--port=4321"])
    assert started[0][-2:] == ["--port", "4321"] and Nobody.address.endswith(":4321")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--poll", "0"], "from 0.02 to 60"), (["--poll=soon"], "from 0.02 to 60"), (["--poll"], "needs a value"),
        (["--poll", "nan"], "from 0.02 to 60"), (["--isolation", "subprocess"], "is decided here"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_told_before_anything_starts(
    started: list[list[str]], options: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        flower_node.run([*OPTIONS, *options])
    assert not started


def test_flowers_waits_become_short_and_nobody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    from flwr.supernode import start_client_internal as loop

    slept: list[float] = []
    monkeypatch.setattr(loop, "time", loop.time)  # put back afterwards
    flower_node.quicken(0.25)
    monkeypatch.setattr(time, "sleep", slept.append)
    for seconds in (3, 0.5, 0.01):
        loop.time.sleep(seconds)
    assert slept == [0.25, flower_node.ANSWER, 0.01] and loop.time.monotonic() > 0


def test_flowers_loop_still_waits_where_its_waits_are_shortened() -> None:
    from flwr.supernode import start_client_internal as loop

    source = Path(loop.__file__).read_text()
    assert "time.sleep(3)" in source and "time.sleep(0.5)" in source


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "twenty seconds have passed"
        time.sleep(0.01)


def test_a_child_that_dies_is_started_again_and_one_that_is_let_go_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, seen = tmp_path / "child.py", Seen()
    script.write_text(
        "import os, sys, time\n"
        "tell = int(sys.argv[sys.argv.index('--tell') + 1])\n"
        "os.write(tell, f'pid {os.getpid()}\\n'.encode())\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(flower_node, "EXECUTOR", script)
    monkeypatch.setattr(flower_node, "AGAIN", 0.01)
    with flower_node.Child("127.0.0.1:1", 0.5, seen):
        until(lambda: len(seen.tasks) == 1)
        first = int(seen.tasks[0][1])
        os.kill(first, signal.SIGKILL)
        until(lambda: len(seen.tasks) == 2)
        second = int(seen.tasks[1][1])
        assert second != first
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)
    assert [kind for kind, _ in seen.tasks] == ["pid", "pid"]
