"""The reference that fleets are compared with, compared itself with runs in this process in which replies are lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fl_ef21.store import Files
from scenarios.loading import parse
from scenarios.runner import serve
from scenarios.setup import prepare
from tests.faulty_grid import Fault, FaultyGrid, Turn
from tests.system import reference
from tests.system.scenarios import small

FINE, LOST = Fault(), Fault("lose reply")


def run_with(turns: list[Turn], folder: Path) -> tuple[Path, Path]:
    """The folders of a run on a grid with these faults, and of its clients' states."""
    setup = prepare(parse(small(rounds=5)), alone=True)
    grid: Any = FaultyGrid(3, lambda: setup.program(range(3), Files(folder / "states")), turns)
    serve(setup, grid, folder / "run", "test")
    return folder / "run", folder / "states"


def test_it_comes_to_every_digest_of_a_run_in_which_replies_were_lost(tmp_path: Path) -> None:
    out, _ = run_with([Turn((FINE, LOST, FINE)), Turn((FINE,) * 3), Turn((LOST, FINE, LOST))], tmp_path)
    assert reference.heard(out) == [[0, 2], [0, 1, 2], [1], [0, 1, 2], [0, 1, 2]]
    assert reference.again(out, tmp_path / "again") == reference.digests(out)


@pytest.mark.parametrize("client", [0, 1])
def test_it_differs_where_a_disk_was_not_what_it_is_said_to_have_been(tmp_path: Path, client: int) -> None:
    out, _ = run_with([], tmp_path)

    def lost(round: int, states: Path) -> None:
        if round == 3:
            reference.forget(states, client)

    found, wanted = reference.again(out, tmp_path / "again", lost), reference.digests(out)
    assert found[:2] == wanted[:2] and all(one != other for one, other in zip(found[2:], wanted[2:], strict=True))


def test_a_backup_is_what_a_disk_was(tmp_path: Path) -> None:
    out, _ = run_with([], tmp_path)

    def there_and_back(round: int, states: Path) -> None:
        if round == 3:
            backup = reference.copy(states, 1, tmp_path / "backup")
            reference.restore(states, 1, backup)

    assert reference.again(out, tmp_path / "again", there_and_back) == reference.digests(out)
