"""What a strategy does about clients that go too far: its guard's questions answered, and its strikes acted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from fl_ef21.blocks import Array
from fl_ef21.replay import added
from strategies.guard import Verdict
from strategies.rounds import Heard

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy


def judge(strategy: CompressedStrategy, heard: Heard, norms: Array) -> Verdict:
    """Whose g_i would go too far; of messages alone, unless each g_i is kept for a rule or to take it out of g.

    A history that is there for other reasons is not looked at, so that all runtimes judge alike.
    """
    g = strategy.rows.g if strategy.rows is not None else None
    if g is None and strategy.guard.limits.action == "evict" and strategy.server.remembers and strategy.history:
        g = strategy.history.g

    def exact(at: int) -> float:
        assert g is not None
        client, version = int(heard.clients[at]), int(heard.version[at])
        after = added(g(client), version, [heard.payloads[at]], strategy.adder.forms)
        return float(after.to(torch.float64).norm())

    return strategy.guard.judge(heard.clients, norms, None if g is None else exact)


def strike(strategy: CompressedStrategy, clients: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Messages of these were refused. Who is asked no more from now on, and who of them leaves.

    They leave where that is wanted and their part of g can be taken out, and where they have none: then rounds can be
    made again by who does not know of strikes.
    """
    out = tuple(client for client in clients if strategy.guard.strike(client))
    known = strategy.rows is not None or strategy.history is not None
    wanted = strategy.guard.limits.action == "evict" and known
    gone = out if wanted or not strategy.server.remembers else ()
    for client in gone:
        strategy.leave(client)
    return out, gone
