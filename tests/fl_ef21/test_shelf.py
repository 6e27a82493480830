"""What a device keeps: shown with its size, and bounded."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from clients.ef21 import State
from fl_ef21 import shelf
from fl_ef21.errors import InputError
from fl_ef21.store import Files
from scenarios.cli import app

D = 50
LONG_AGO = time.time() - 10 * shelf.IDLE


def keep(folder: Path, number: int, clients: int = 1) -> str:
    """One more experiment with the state of some clients; its name."""
    experiment, store = number.to_bytes(16, "little"), Files(folder)
    for client in range(clients):
        span = range(client, client + 1)
        store.close(experiment, store.open(experiment, State, span, D, torch.float64))
    return experiment.hex()


def age(folder: Path, name: str, used: float) -> None:
    for path in (folder / name).iterdir():
        os.utime(path, (used, used))
    os.utime(folder / name, (used, used))


def test_every_client_is_shown_with_its_version_and_all_its_bytes(tmp_path: Path) -> None:
    name = keep(tmp_path, 1, clients=2)
    (tmp_path / name / "client-1.model").write_bytes(bytes(1000))
    (tmp_path / "a stranger").mkdir()
    first, second = sorted(shelf.kept(tmp_path), key=lambda one: one.client)
    assert (first.experiment, first.client, first.version) == (name, 0, 0)
    assert first.nbytes == (tmp_path / name / "client-0.state").stat().st_size >= 4 * D * 8
    assert second.nbytes == (tmp_path / name / "client-1.state").stat().st_size + 1000


def test_a_damaged_file_is_shown_as_one(tmp_path: Path) -> None:
    path = tmp_path / keep(tmp_path, 1) / "client-0.state"
    path.write_bytes(path.read_bytes()[:-1])
    assert [one.version for one in shelf.kept(tmp_path)] == [None]
    keep(tmp_path, 1)  # who opens it puts it aside, and begins anew
    (one,) = shelf.kept(tmp_path)
    assert one.version == 0 and one.nbytes == sum(file.stat().st_size for file in path.parent.iterdir())


def test_a_new_experiment_takes_the_place_of_the_one_that_was_used_least_lately(tmp_path: Path) -> None:
    names = [keep(tmp_path, number) for number in range(shelf.KEPT + 2)]
    assert {one.experiment for one in shelf.kept(tmp_path)} == set(names)  # all of them may be going on
    for at, name in enumerate(names):
        age(tmp_path, name, LONG_AGO + at)
    newest = keep(tmp_path, 99)
    assert {one.experiment for one in shelf.kept(tmp_path)} == {*names[2:], newest}


def test_one_that_goes_on_removes_nothing(tmp_path: Path) -> None:
    names = [keep(tmp_path, number) for number in range(shelf.KEPT + 2)]
    for at, name in enumerate(names):
        age(tmp_path, name, LONG_AGO + at)
    keep(tmp_path, 0)
    assert {one.experiment for one in shelf.kept(tmp_path)} == set(names)


def test_the_command_shows_and_prunes(tmp_path: Path) -> None:
    names = [keep(tmp_path, number) for number in range(3)]
    for at, name in enumerate(names):
        age(tmp_path, name, LONG_AGO + at)
    said = CliRunner().invoke(app, ["state", str(tmp_path)])
    assert said.exit_code == 0 and all(name[:12] in said.output for name in names) and "in all" in said.output
    pruned = CliRunner().invoke(app, ["state", str(tmp_path), "--prune", "1", "--format", "json"])
    assert [one["experiment"] for one in json.loads(pruned.stdout)] == [names[-1]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [names[-1]]


def test_no_folder_is_an_error_that_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="state-dir of a device"):
        shelf.kept(tmp_path / "nothing")
