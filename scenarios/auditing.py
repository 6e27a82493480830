"""`fl-ef21 audit`: what a durable run's journal says by itself, without clients, data, or anything computed again.

Of each method: its records are a chain, the model of every round follows from the payloads, and g is sum_i w_i g_i with
each g_i made of what client i sent.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fl_ef21.errors import Refused
from scenarios.checks import Check, opened
from scenarios.lasting import SERVER, cut_before
from scenarios.run_file import RunFile
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.journal import Journal

TOLERANCE = 1e-6  # of |g - sum_i w_i g_i| / |g|: sums in another order differ in the last digits of float64


def audit(folder: Path) -> list[Check]:
    """Lines for each method. Raises: InputError where the folder holds no durable run."""
    try:
        with opened(folder) as (run, setup, journal):
            return [check for number in range(len(setup.plans)) for check in _method(run, setup, journal, number)]
    except Refused as why:
        return [Check("all", "journal", False, str(why))]


def _method(run: RunFile, setup: Setup, journal: Journal, number: int) -> list[Check]:
    label, last = setup.plans[number].label, journal.last(number)
    rounds = [round for round, _, _ in journal.rounds(number)]
    if not rounds:
        return [Check(label, "records", True, "no round was committed")]
    if missing := sorted(set(range(1, last + 1)) - set(rounds)):
        told = f"round {missing[0]} is not among them: the run was not durable then"
        return [Check(label, "records", False, told)]
    found = [Check(label, "records", True, f"{len(rounds)} rounds, each chained to the one before")]
    strategy, cut = (
        setup.strategy(number, run.nonce, remember=True),
        cut_before(run.folder, run.nonce, number, last + 1),
    )
    at = last if cut is None else int(cut.about["round"])
    try:
        for commit in journal.commits(number, 0, at):
            strategy.redo(commit)
        if cut is not None:
            kept = setup.strategy(number, run.nonce)
            kept.restore(*cut.load(SERVER))
            found.append(_cut(label, at, strategy, kept))
        found += _invariant(label, at, strategy, strategy.state.g if cut is None else kept.state.g)
        for commit in journal.commits(number, at, last):
            strategy.redo(commit)
    except Refused as why:
        return [*found, Check(label, "models", False, str(why))]
    return [*found, Check(label, "models", True, f"all {len(rounds)} follow from the payloads")]


def _cut(label: str, round: int, redone: CompressedStrategy, kept: CompressedStrategy) -> Check:
    same = torch.equal(redone.descent.x, kept.descent.x) and torch.equal(redone.state.g, kept.state.g)
    told = "x and g are those of the payloads" if same else "x or g is not what the payloads lead to"
    return Check(label, f"cut of round {round}", same, told)


def _invariant(label: str, round: int, redone: CompressedStrategy, g: Tensor) -> list[Check]:
    """|g - sum_i w_i g_i| / |g|, every g_i from its payloads alone; nothing of a method whose g is no such sum."""
    if redone.history is None:
        return []
    total = torch.zeros(redone.dim, dtype=torch.float64)
    for client in redone.members.ids().tolist():
        total += redone.members.weights[client] * redone.history.g(client).to(torch.float64)
    size = float(g.norm())
    error = float((g - total).norm()) / (size if size > 0 else 1.0)
    return [Check(label, f"g of round {round}", error <= TOLERANCE, f"|g - sum_i w_i g_i| / |g| = {error:.1e}")]
