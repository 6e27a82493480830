"""Durable runs whose clients keep files of their own, as on Flower's runtimes: the server goes on from its journal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import scenarios
from fl_ef21 import failpoints
from fl_ef21.errors import InputError
from fl_ef21.store import Files
from scenarios import run_file
from scenarios.results import Result
from scenarios.runner import resume, serve
from scenarios.setup import prepare
from scenarios.verifying import verify
from tests.faulty_grid import FaultyGrid
from tests.scenarios.lasting_runs import lasting, told


@pytest.fixture(autouse=True)
def one_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_file, "new_identity", lambda: "5e" * 16)


def served(some: Any, out: Path, states: Path) -> Result:
    """On a grid that calls the client program for one message at a time, its state in files."""
    setup = prepare(some, alone=True)
    clients = setup.problem.clients
    grid = FaultyGrid(clients, lambda: setup.program(range(clients), Files(states)))
    return serve(setup, grid, out, "flwr run")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_file, "new_identity", lambda: "5e" * 16)
        served(lasting(), folder / "run", folder / "states")
    return told(folder / "run")


@pytest.mark.parametrize(
    ("place", "every"),
    [
        ("journal.before_commit:raise:5", 2),
        ("journal.after_commit:raise:5", 2),
        ("training.round:raise:10", 2),
        ("training.round:raise:10", 100),
    ],
)
def test_it_goes_on_from_the_journal(place: str, every: int, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    some = lasting(cuts={"every": every})
    with failpoints.arm(place), pytest.raises(failpoints.Failed):
        served(some, tmp_path / "run", tmp_path / "states")
    served(some, tmp_path / "run", tmp_path / "states")
    assert told(tmp_path / "run") | {"files": ()} == undisturbed | {"files": ()}


def test_clients_that_lost_their_files_are_repaired(tmp_path: Path) -> None:
    """They are sent what the journal kept of them; their momentum is gone, so the figures are others."""
    some = lasting(shadow=[])
    with failpoints.arm("training.round:raise:10"), pytest.raises(failpoints.Failed):
        served(some, tmp_path / "run", tmp_path / "states")
    shutil.rmtree(tmp_path / "states")
    result = served(some, tmp_path / "run", tmp_path / "states")
    last = result.of("ef21-sgdm").iloc[-1]
    assert result.summary["status"] == "finished" and last["round"] == 6 and last["invariant_error"] < 1e-6


def test_a_run_that_is_finished_or_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    some = lasting(shadow=[], rounds=2)
    served(some, tmp_path / "run", tmp_path / "states")
    with pytest.raises(InputError, match="is finished"):
        served(some, tmp_path / "run", tmp_path / "states")
    with failpoints.arm("journal.after_commit:raise:3"), pytest.raises(failpoints.Failed):
        served(some, tmp_path / "other", tmp_path / "states")
    with pytest.raises(InputError, match="seed: 3 -> 5"):
        served(lasting(shadow=[], rounds=2, seed=5), tmp_path / "other", tmp_path / "states")


@pytest.mark.nightly
@pytest.mark.system
def test_flowers_own_simulation_goes_on(tmp_path: Path) -> None:
    some = lasting(engine={"actors": 2, "cpus_per_actor": 0.5})
    scenarios.run(some, out=tmp_path / "a", runtime="flower")
    with failpoints.arm("journal.after_commit:raise:5"), pytest.raises(failpoints.Failed):
        scenarios.run(some, out=tmp_path / "b", runtime="flower")
    resume(tmp_path / "b")
    assert told(tmp_path / "b") == told(tmp_path / "a")
    assert all(check.good for check in verify(tmp_path / "b", 4, seed=0))
