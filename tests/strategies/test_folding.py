"""The ledger on disk stays short, and what it says of clients stays what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fl_ef21.errors import Refused
from strategies.folding import fold, held
from strategies.journal import Journal
from tests.strategies.kept import SGDM, N, Run, setup_of


def journaled(run: Run, path: Path, until: int, lag: int | None) -> Journal:
    """Every round in a journal, folded after each with what was `lag` rounds ago as the oldest that is wanted."""
    journal = Journal.open(path, bytes(16), create=True)
    for number in run.rounds(until):
        journal.commit(0, run.strategy.commit(), {})
        if lag is not None:
            fold(journal, 0, number, max(0, number - lag), run.strategy.ledger, run.strategy.adder.forms, like(run))
        if number in (7, 30):
            run.strategy.leave(2)
        if number == 12:
            run.strategy.join(2)
    return journal


def like(run: Run) -> Any:
    return torch.zeros(run.strategy.dim, dtype=run.strategy.plan.dtype)


@pytest.mark.parametrize("lag", [None, 0, 5])
def test_the_ledger_says_what_every_client_holds(lag: int | None, tmp_path: Path) -> None:
    run = Run(setup_of(SGDM))
    journal = journaled(run, tmp_path / "j", 40, lag)
    assert (journal.folded(0) > 12) == (lag is not None)
    told = held(journal, 0, run.strategy.ledger, run.strategy.adder.forms, like(run))
    assert sorted(told) == [0, 1, 3, 4] == run.strategy.members.ids().tolist()
    for client, (point, g) in told.items():
        assert point == run.strategy.ledger.points[client]
        assert torch.equal(g, run.strategy.history.g(client))  # type: ignore[union-attr]


def test_a_long_run_keeps_a_bounded_ledger(tmp_path: Path) -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    journal = journaled(run, tmp_path / "j", 120, 3)
    vectors = N * run.strategy.dim * 8
    assert journal.payload_bytes(0, 120) <= 6 * vectors
    whole = journaled(Run(run.setup), tmp_path / "whole", 120, None)
    assert whole.payload_bytes(0, 120) > 20 * vectors
    assert [one[:2] for one in journal.rounds(0)] == [one[:2] for one in whole.rounds(0)]  # their digests stay


def test_rounds_that_are_folded_cannot_be_made_again(tmp_path: Path) -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    journal = journaled(run, tmp_path / "j", 60, 3)
    with pytest.raises(Refused, match="folded"):
        list(journal.commits(0, 0))
    assert [commit.round for commit in journal.commits(0, journal.folded(0))][-1] == 60
