"""`fl-ef21 audit`: what a durable run's journal says by itself, without clients, data, or anything computed again.

Of each method: its records are a chain, the model of every round follows from the payloads, and g is sum_i w_i g_i with
each g_i made of what client i sent.
"""

from __future__ import annotations

from pathlib import Path

import torch

from fl_ef21.errors import Refused
from scenarios.checks import Check, opened
from scenarios.lasting import SERVER, cut_before, cut_from
from scenarios.run_file import RunFile
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.folding import held
from strategies.journal import Journal

TOLERANCE = 1e-6  # of |g - sum_i w_i g_i| / |g|: sums in another order differ in the last digits of float64


def audit(folder: Path) -> list[Check]:
    """Lines for each method. Raises: InputError where the folder holds no durable run."""
    try:
        with opened(folder, elsewhere=True) as (run, setup, journal):
            return [check for number in range(len(setup.plans)) for check in _method(run, setup, journal, number)]
    except Refused as why:
        return [Check("all", "journal", False, str(why))]


def _method(run: RunFile, setup: Setup, journal: Journal, number: int) -> list[Check]:
    label, last, folded = setup.plans[number].label, journal.last(number), journal.folded(number)
    rounds = [round for round, _, _ in journal.rounds(number)]
    if not rounds:
        return [Check(label, "records", True, "no round was committed")]
    if missing := sorted(set(range(1, last + 1)) - set(rounds)):
        told = f"round {missing[0]} is not among them: the run was not durable then"
        return [Check(label, "records", False, told)]
    found = [Check(label, "records", True, f"{len(rounds)} rounds, each chained to the one before")]
    begin = cut_from(run.folder, run.nonce, number, folded) if folded else None
    if folded and begin is None:
        told = f"payloads up to round {folded} are folded, and no good cut is left to go on from"
        return [*found, Check(label, "models", False, told)]
    image = None if begin is None else begin.load(SERVER)
    strategy, at = setup.strategy(number, run.nonce, remember=image is None or "history" in image[1]["parts"]), 0
    newest = cut_before(run.folder, run.nonce, number, last + 1)
    try:
        if begin is not None and image is not None:
            strategy.restore(*image)
            at = int(begin.about["round"])
        if newest is not None:
            until = int(newest.about["round"])
            _redo(strategy, journal, number, at, until)
            kept, at = setup.strategy(number, run.nonce), until
            kept.restore(*newest.load(SERVER))
            found.append(_cut(label, until, strategy, kept))
        _redo(strategy, journal, number, at, last)
        found += _invariant(label, journal, number, strategy)
    except (Refused, ValueError) as why:
        return [*found, Check(label, "models", False, str(why))]
    told = "all" if begin is None else f"those after round {begin.about['round']}"
    return [*found, Check(label, "models", True, f"{told} of {len(rounds)} follow from the payloads")]


def _redo(strategy: CompressedStrategy, journal: Journal, number: int, after: int, until: int) -> None:
    for commit in journal.commits(number, after, until):
        strategy.redo(commit)


def _cut(label: str, round: int, redone: CompressedStrategy, kept: CompressedStrategy) -> Check:
    same = torch.equal(redone.descent.x, kept.descent.x) and torch.equal(redone.state.g, kept.state.g)
    told = "x and g are those of the payloads" if same else "x or g is not what the payloads lead to"
    return Check(label, f"cut of round {round}", same, told)


def _invariant(label: str, journal: Journal, number: int, strategy: CompressedStrategy) -> list[Check]:
    """|g - sum_i w_i g_i| / |g|, every g_i from its payloads alone; nothing of a method whose g is no such sum.

    Where a robust rule makes g of the g_i, they themselves are compared, as the largest |difference| / |g_i|.
    """
    if not strategy.server.remembers:
        return []
    like = torch.zeros(strategy.dim, dtype=strategy.plan.dtype)
    total, apart, size = torch.zeros(strategy.dim, dtype=torch.float64), 0.0, float(strategy.state.g.norm())
    for client, (point, kept) in held(journal, number, strategy.ledger, strategy.adder.forms, like).items():
        if point != strategy.ledger.points[client]:
            return [Check(label, "g", False, f"the payloads of client {client} do not lead to its point")]
        g = kept.to(torch.float64)
        total += strategy.members.weights[client] * g
        if strategy.rows is not None:
            apart = max(apart, float((strategy.rows.G[client].to(torch.float64) - g).norm()))
            size = max(size, float(g.norm()))
    if strategy.rows is None:
        apart = float((strategy.state.g - total).norm())
    error, what = apart / (size if size > 0 else 1.0), "g - sum_i w_i g_i" if strategy.rows is None else "G_i - g_i"
    told = f"|{what}| / |g| = {error:.1e}"
    return [Check(label, f"g of round {journal.last(number)}", error <= TOLERANCE, told)]
