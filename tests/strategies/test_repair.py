"""A client that has lost something gets it back from the server, bitwise, and only what it lacks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clients import METHODS as HALVES
from clients.ef21 import State
from clients.mending import mend
from fl_ef21.blocks import words
from fl_ef21.commit import Point
from fl_ef21.repair import Repair
from fl_ef21.store import Files, Memory
from strategies import steps
from strategies.rounds import Silence
from tests.strategies.kept import EF14, LOW_RANK, SGD2M, SGDM, N, Run, setup_of

ROW = np.array([0])
METHODS = pytest.mark.parametrize("method", [SGDM, SGD2M, LOW_RANK], ids=["topk", "randk, two momenta", "low rank"])


def state(run: Run, client: int) -> Any:
    """A client's state and where it is, what it staged being promoted if the server holds that."""
    plan = run.setup.plans[0]
    kind = type(plan.half(HALVES[plan.method], 1).start(torch.zeros(1, 1)))
    experiment = run.strategy.ledger._experiment
    rows = run.store.open(experiment, kind, range(client, client + 1), run.strategy.dim, plan.dtype)
    point = run.strategy.ledger.points[client]
    rows.settle(ROW, np.array([point.version]), words(point.chain)[None])
    return rows.read(ROW), rows.points[0]


def in_files(method: dict[str, Any], folder: Path, **options: Any) -> Run:
    return Run(setup_of(method, **options), Files(folder))


@METHODS
@pytest.mark.parametrize("start", ["gradient", "zero"])
def test_a_wiped_client_has_its_g_again(method: dict[str, Any], start: str, tmp_path: Path) -> None:
    run = in_files(method, tmp_path, start=start, participation=1.0)
    run.to(7)
    before, _ = state(run, 2)
    run.store.forget(run.strategy.ledger._experiment, range(2, 3))
    run.to(8)
    assert run.strategy.last.refused == {"lacks": 1} and run.strategy.last.repaired == 0
    after, point = state(run, 2)
    assert point.version == 0
    assert run.error() < 1e-14  # the audit repairs as well
    after, _ = state(run, 2)
    assert torch.equal(after.g, before.g) and torch.equal(after.v, before.g)  # nobody else knew its momentum
    run.to(9)
    assert run.strategy.last.participants == N and run.error() < 1e-14


@pytest.mark.parametrize("method", [SGDM, SGD2M], ids=["topk", "randk, two momenta"])
def test_an_old_backup_catches_up_by_what_it_missed_and_keeps_its_momentum(
    method: dict[str, Any], tmp_path: Path
) -> None:
    run = in_files(method, tmp_path / "a", dim=200, participation=1.0)  # so long that nothing is folded
    run.to(3)
    shutil.copytree(tmp_path / "a", tmp_path / "old")
    old, at = state(run, 1)
    run.to(6)
    path = run.store.path(run.strategy.ledger._experiment, 1)
    shutil.copy(tmp_path / "old" / path.relative_to(tmp_path / "a"), path)
    run.to(7)
    assert run.strategy.last.refused == {"lacks": 1}
    repair = run.strategy.repairs(run.strategy.members.ids())[1]
    assert repair.start.version == at.version - 1 == 2 and repair.whole is None and len(repair.increments) == 4
    assert run.error() < 1e-14
    now, point = state(run, 1)
    assert point.version == 6 and torch.equal(now.v, old.v) and not torch.equal(now.g, old.g)
    run.to(8)
    assert run.strategy.last.participants == N and run.error() < 1e-14


def test_a_repair_is_counted_as_downlink_bytes(tmp_path: Path) -> None:
    run = in_files(SGDM, tmp_path, participation=1.0)
    run.to(4)
    plain = run.strategy.last.downlink_bytes
    run.store.forget(run.strategy.ledger._experiment, range(2, 3))
    run.to(5)
    repair = run.strategy.repairs(run.strategy.members.ids())[2]
    run.to(6)
    assert run.strategy.last.downlink_bytes == plain + repair.nbytes > plain


def test_a_long_history_is_folded_and_a_client_repaired_from_it(tmp_path: Path) -> None:
    run = in_files(SGDM, tmp_path, participation=1.0)
    limit = 2 * run.strategy.dim * 8
    for number in run.rounds(60):
        assert run.strategy.history is not None and run.strategy.history.nbytes <= N * limit, number
    run.store.forget(run.strategy.ledger._experiment, range(3, 4))
    run.to(61)
    repair = run.strategy.repairs(run.strategy.members.ids())[3]
    assert repair.whole is not None and repair.nbytes < 3 * limit
    run.to(62)
    assert run.strategy.last.participants == N and run.error() < 1e-14


def test_a_client_of_a_method_without_memory_goes_on_from_what_it_has(tmp_path: Path) -> None:
    run = in_files(EF14, tmp_path, participation=1.0)
    run.to(3)
    run.store.forget(run.strategy.ledger._experiment, range(2, 3))
    run.to(4)
    assert run.strategy.last.refused == {"lacks": 1}
    run.to(5)
    assert run.strategy.last.participants == N


def test_who_leaves_takes_its_part_out_of_g_and_comes_back_with_nothing() -> None:
    run = Run(setup_of(SGDM))
    run.to(5)
    run.strategy.leave(2)
    run.to(6)
    assert run.error() < 1e-14
    ids = run.strategy.members.ids().tolist()
    assert ids == [0, 1, 3, 4] and run.strategy.members.share == pytest.approx(0.8)
    run.to(9)
    assert run.error() < 1e-14
    run.strategy.join(2)
    for _ in run.rounds(16):
        assert run.error() < 1e-14
    assert run.strategy.members.ids().tolist() == [0, 1, 2, 3, 4] and run.strategy.ledger.points[2].version > 0


def test_n_follows_who_is_there() -> None:
    """Without compression and with full batches of no noise, g is the mean gradient of who is there."""
    run = Run(setup_of({"name": "ef21-sgd", "compressor": "identity"}, participation=1.0))
    run.to(2)
    run.strategy.leave(4)
    run.to(3)
    share = run.strategy.members.share
    g = run.strategy.state.g / share
    held = [run.strategy.history.g(i) for i in range(4)]  # type: ignore[union-attr]
    assert torch.allclose(g, torch.stack(held).mean(dim=0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", ["scaffold", "diana"])
def test_so_it_does_where_the_step_is_by_who_was_heard(method: str) -> None:
    """Without compression what a client remembers is its gradient, and the step is by their mean."""
    run = Run(setup_of({"name": method}, participation=1.0))
    run.to(2)
    run.strategy.leave(4)
    run.to(3)
    held = [run.strategy.history.g(i) for i in range(4)]  # type: ignore[union-attr]
    assert torch.allclose(steps.direction(run.strategy), torch.stack(held).mean(dim=0), rtol=0, atol=1e-14)


def test_nobody_leaves_whose_part_is_not_known() -> None:
    strategy = setup_of(SGDM).strategy(0, b"run")
    with pytest.raises(ValueError, match="client 2 cannot leave: without a history"):
        strategy.leave(2)


def test_a_repair_that_leads_elsewhere_changes_nothing() -> None:
    run = Run(setup_of(SGDM), Memory(range(N)))
    run.to(3)
    experiment = run.strategy.ledger._experiment
    rows = run.store.open(experiment, State, range(N), 6, torch.float64)
    before = rows.read(ROW), rows.points[0]
    wrong = Repair(Point(2, bytes(16)), None, (b"x",))
    assert not mend(rows, 0, wrong, run.strategy.ledger.points[0], run.strategy.adder.forms)
    after = rows.read(ROW), rows.points[0]
    assert torch.equal(before[0].g, after[0].g) and before[1] == after[1]


def test_what_an_old_backup_lacks_is_not_for_one_that_has_nothing() -> None:
    """A client may be wiped, or be another copy, when a repair for what it had arrives."""
    run = Run(setup_of(SGDM, dim=200), Memory(range(N)))
    run.to(4)
    forms, to = run.strategy.adder.forms, run.strategy.ledger.points[0]
    history: Any = run.strategy.history
    partly = history.repair(0, history.repair(0, None).points()[1])
    rows = Memory(range(N)).open(run.strategy.ledger._experiment, State, range(N), 200, torch.float64)
    assert partly.whole is None and not mend(rows, 0, partly, to, forms)
    assert rows.points[0].version == 0 and not rows.read(ROW).g.any()
    assert mend(rows, 0, history.repair(0, None), to, forms)
    assert torch.equal(rows.read(ROW).g[0], history.g(0))


def test_who_is_asked_back_before_it_has_left_leaves_first() -> None:
    run = Run(setup_of(SGDM, participation=1.0))
    run.to(4)
    run.strategy.leave(2)
    run.strategy.join(2)
    run.to(5)
    assert run.strategy.commit().left == run.strategy.commit().joined == (2,)
    assert run.strategy.members.epoch[2] == 1 and run.error() < 1e-14
    run.to(7)
    assert run.strategy.last.participants == N and run.error() < 1e-14


def test_a_round_without_anybody_to_ask_is_told() -> None:
    run = Run(setup_of(SGDM))
    run.to(2)
    for client in range(N):
        run.strategy.leave(client)
    with pytest.raises(Silence, match="round 3: every client has left or is in quarantine"):
        list(run.strategy.rounds(run.grid, 5, after=2))  # type: ignore[arg-type]
