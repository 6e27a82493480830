"""`down` ends what `up` started and nothing else."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fl_ef21.errors import InputError
from scenarios.deploy import down, init, processes
from scenarios.deploy.processes import Process, began

PROC = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    begun: list[Process] = []

    def starter(script: str) -> Process:
        home = tmp_path / f"home{len(begun)}"
        home.mkdir()
        (home / "start.sh").write_text(f"#!/bin/sh\n{script}\n")
        (home / "start.sh").chmod(0o700)
        begun.append(Process.start("superlink", home, home / "log.txt", dict(os.environ), {"SAY": "hello"}))
        return begun[-1]

    yield starter
    processes.end(begun, 1.0)


def over(one: Process) -> None:
    while one.alive:
        time.sleep(0.01)


def test_it_is_ended_with_what_it_started(start: Callable[[str], Process]) -> None:
    one = start("sleep 60 & sleep 60 & wait")
    assert one.alive and processes.end([one], 1.0) == [one] and not one.alive and not one.offspring()


@PROC
def test_children_of_one_that_died_are_ended_too(start: Callable[[str], Process]) -> None:
    one = start("setsid sleep 60 & exit 0")
    over(one)
    (child,) = one.offspring()
    assert processes.end([one], 0.2) == [] and began(child) == ""


def test_one_that_does_not_listen_is_killed(start: Callable[[str], Process], tmp_path: Path) -> None:
    one = start("trap '' TERM; echo ready; while :; do sleep 0.1; done")
    while "ready" not in (tmp_path / "home0" / "log.txt").read_text():
        time.sleep(0.01)
    processes.end([one], patience=0.3)
    assert not one.alive


def test_another_process_with_the_same_id_is_left_alone() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        one = Process("superlink", stranger.pid, began(stranger.pid) + "0", "mark", {})
        assert not one.alive and processes.end([one]) == [] and stranger.poll() is None
        stranger.kill()


def test_a_process_has_its_settings_and_a_private_log(start: Callable[[str], Process], tmp_path: Path) -> None:
    one = start('echo "$SAY"')
    over(one)
    log = tmp_path / "home0" / "log.txt"
    assert log.read_text() == "hello\n" and log.stat().st_mode & 0o077 == 0 and one.settings == {"SAY": "hello"}


def test_what_was_noted_is_read_again(start: Callable[[str], Process], tmp_path: Path) -> None:
    one = start("sleep 60")
    both = [one, replace(one, role="node-0", started="")]
    processes.note(tmp_path / "processes.json", both)
    assert processes.load(tmp_path / "processes.json") == both and not both[1].alive


def test_down_where_nothing_runs_ends_nothing(tmp_path: Path) -> None:
    fleet = init(tmp_path / "fleet", 1)
    assert down(fleet.folder) == []


def test_a_damaged_note_is_told(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text('[{"pid": 1}]')
    with pytest.raises(InputError, match="is damaged"):
        processes.load(tmp_path / "processes.json")
