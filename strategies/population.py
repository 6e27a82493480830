"""Who comes, who goes, and who is sent what it lacks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from fl_ef21.blocks import Array
from fl_ef21.repair import Repair

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy


def repairs(strategy: CompressedStrategy, clients: Array) -> dict[int, Repair]:
    """What those of these clients are sent who lack something, and can be helped."""
    lacking = [i for i in clients.tolist() if i in strategy._lacking] if strategy._lacking else []
    if not strategy.server.remembers:  # nothing of the client's is in g: it goes on from what it has
        return {i: Repair(strategy.ledger.points[i]) for i in lacking}
    if strategy.history is None:
        return {}
    return {i: strategy.history.repair(i, strategy._lacking[i]) for i in lacking}


def change(strategy: CompressedStrategy) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Those who leave are out of g, those who join belong to the population from now on: who left, who joined."""
    left, joined = tuple(sorted(strategy._leaving)), tuple(sorted(strategy._joining))
    for client in left:
        _out(strategy, client)
    for client in joined:
        strategy.members.join(client)
    strategy._leaving, strategy._joining = set(), set()
    return left, joined


def _out(strategy: CompressedStrategy, client: int) -> None:
    """Take a client's part out of g; if it comes back, it begins anew."""
    strategy.members.leave(client)
    strategy.guard.forget(client)
    if strategy.rows is not None:
        strategy.rows.clear(client)
    elif strategy.server.remembers and strategy.history is not None:
        g = strategy.history.g(client).to(torch.float64) * strategy.members.weights[client]
        strategy.state = replace(strategy.state, g=strategy.state.g - g)
    origin = strategy.ledger.origin(client, int(strategy.members.epoch[client]))
    strategy.ledger.begin(client, origin)
    if strategy.history is not None:
        strategy.history.drop(client, origin)
    strategy._lacking[client] = None
