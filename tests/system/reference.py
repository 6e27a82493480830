"""What the clients of a run on a fleet should have come to, computed again in this process by the same halves.

Whom the server heard in a round is taken from the run's journal; everybody else is as if the reply had been lost. Then
the digest of every round, over the model, g and every client's point, must be that of the journal, to the last bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Message

from fl_ef21 import records
from fl_ef21.commit import Block
from fl_ef21.store import Files
from scenarios.checks import opened
from strategies.flower import CompressedStrategy
from strategies.history import Kept
from strategies.rounds import Commit
from tests.faulty_grid import FaultyGrid

Disk = Callable[[int, Path], None]  # round and the folder of clients' states, called before the round


def untouched(round: int, states: Path) -> None:
    """Nothing happens to the disks."""


def heard(run: Path) -> list[list[int]]:
    """Whose increments each round of the first method added."""
    return [commit.clients.tolist() for commit in _commits(run)]


def digests(run: Path) -> list[str]:
    """Of each round of the first method."""
    return [commit.digest.hex() for commit in _commits(run)]


def again(run: Path, scratch: Path, disk: Disk = untouched) -> list[str]:
    """The same, computed in this process. disk: does to the states in `scratch` what was done to the devices'."""
    with opened(run) as (about, setup, _):
        strategy = setup.strategy(0, about.nonce)
    origins = [strategy.ledger.origin(i, 0) for i in range(strategy.clients)]
    strategy.history = Kept(strategy.adder.forms, strategy.dim, strategy.plan.dtype, origins)
    grid = FaultyGrid(strategy.clients, lambda: setup.program(range(strategy.clients), Files(scratch, setup.momentum)))
    found = []
    for commit in _commits(run):
        disk(commit.round, scratch)
        _round(strategy, grid, commit)
        found.append(strategy.digest().hex())
        if commit.round % setup.scenario.evaluate.every == 0 and setup.scenario.evaluate.audit:
            strategy.audit(grid)  # who lacks something says so here, too
    return found


def _round(strategy: CompressedStrategy, grid: Any, commit: Commit) -> None:
    """One round in which the server hears those whom the commit names, and of the others what they lack."""
    arrays = records.pack_model(strategy.descent.x)
    messages = list(strategy.configure_train(commit.round, arrays, ConfigRecord(), grid))
    replies = [grid._answer(message) for message in messages]
    some = set(commit.clients.tolist())
    strategy.aggregate_train(commit.round, [one for one in replies if _client(one) in some or _lacks(one)])


def _client(reply: Message) -> int:
    return Block.unpack(records.read_block(reply)).client


def _lacks(reply: Message) -> bool:
    return not records.read_answer(reply)[1]


def _commits(run: Path) -> list[Commit]:
    with opened(run) as (_, _, journal):
        return list(journal.commits(0, 0))


def forget(states: Path, client: int) -> None:
    """A disk that was lost."""
    for path in states.rglob(f"client-{client}.*"):
        path.unlink()


def copy(states: Path, client: int, to: Path) -> Path:
    """A backup of one client's state, its folders included."""
    for path in states.rglob(f"client-{client}.*"):
        place = to / path.relative_to(states)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return to


def restore(states: Path, client: int, backup: Path) -> None:
    """The disk is what it was at the backup."""
    forget(states, client)
    shutil.copytree(backup, states, dirs_exist_ok=True)
