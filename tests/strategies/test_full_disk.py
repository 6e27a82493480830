"""A client whose disk is full or whose file is damaged is one that was not heard: g stays the sum, the others go on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fl_ef21.failpoints import arm
from fl_ef21.store import Files
from tests.faulty_grid import Fault, FaultyGrid, Turn
from tests.strategies.kept import SGDM, N, Run, setup_of

SETUP = setup_of(SGDM, participation=1.0)
WHO, WHEN = 2, 4  # client and round
FINE = (Fault(),) * N


def writes(client: int) -> str:
    """Its write of a round in which everybody writes in turn, a digest and then a body."""
    return f"files.write:enospc:{2 * client + 2}"


@pytest.mark.parametrize("durable", [True, False])
def test_a_client_that_cannot_store_takes_no_part_and_keeps_what_it_had(tmp_path: Path, durable: bool) -> None:
    run, unheard = Run(SETUP, Files(tmp_path, durable=durable)), Run(SETUP, Files(tmp_path / "unheard"))
    lost = (*(Fault("lose instruction") if client == WHO else Fault() for client in range(N)),)
    unheard.grid = FaultyGrid(N, unheard.grid.program, [Turn(FINE)] * (WHEN - 1) + [Turn(lost)])
    run.to(WHEN - 1)
    with arm(writes(WHO)):
        run.to(WHEN)
    assert run.strategy.last.refused == {"storage": 1} and run.strategy.last.participants == N - 1
    assert f"client-{WHO}.state" in run.strategy.last.first and "No space left" in run.strategy.last.first
    unheard.to(WHEN)
    assert torch.equal(run.strategy.descent.x, unheard.strategy.descent.x)
    for done in (run, unheard):
        done.to(WHEN + 3)
        assert done.strategy.last.participants == N and not done.strategy.last.refused and done.error() < 1e-14
    assert torch.equal(run.strategy.descent.x, unheard.strategy.descent.x)


def test_a_client_whose_file_is_damaged_is_repaired(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(SETUP, Files(tmp_path))
    run.to(WHEN)
    path = next(tmp_path.rglob(f"client-{WHO}.state"))
    path.write_bytes(path.read_bytes()[:-3])
    run.to(WHEN + 1)
    assert run.strategy.last.refused == {"lacks": 1} and f"client-{WHO}.state is damaged" in caplog.text
    run.to(WHEN + 2)
    assert run.strategy.last.repaired == 1 and run.strategy.last.participants == N and run.error() < 1e-14
