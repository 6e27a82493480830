"""Where the server has no samples to measure f by: clients are asked for sums over theirs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flwr.serverapp import Grid

from fl_ef21 import records
from fl_ef21.commit import Kind
from fl_ef21.measured import Measured, weigh
from strategies.downlink import WHOLE
from strategies.flower_exchange import exchange

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

log = logging.getLogger("fl_ef21")
PATIENCE = 600.0  # seconds


def evaluate(strategy: CompressedStrategy, grid: Grid, timeout: float | None = None) -> Measured:
    """f and the accuracy at the server's model, over who answers within `timeout` seconds.

    All clients that can be reached are asked, in quarantine or not; training knows nothing of it.
    """
    there = strategy.members.ids()
    clients = there[strategy.nodes.reachable()[there]]
    now, model = strategy.last.number, records.pack_model(strategy.descent.x)
    messages = strategy.nodes.post.messages(Kind.EVALUATE, clients, now, {WHOLE: (model, None)})
    with strategy.ledger.apart():
        replies, _ = exchange(grid, messages, timeout=timeout or PATIENCE)
        heard = strategy.open(replies).heard
    sizes = [len(payload) for payload in heard.payloads]
    strategy.account.aside(str(now), sizes, len(clients), records.model_bytes(model))
    if len(heard) < len(clients):
        log.warning("round %d: %d of %d clients measured f", now, len(heard), len(clients))
    return weigh(heard.clients, heard.payloads, strategy.members.weights)
