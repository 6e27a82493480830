"""Asks clients how far their v_i and g_i are from what they stand for. Training knows nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from flwr.serverapp import Grid
from torch import Tensor

from fl_ef21 import records
from fl_ef21.commit import Kind
from fl_ef21.theory.measured import Errors, total
from strategies.downlink import WHOLE
from strategies.flower_exchange import exchange
from strategies.rounds import groups

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

PATIENCE = 600.0  # seconds


def errors(strategy: CompressedStrategy, grid: Grid, x: Tensor) -> Errors | None:
    """Of all clients after the last round, at the model x (d,) that it began with; no byte of it is counted.

    None where one did not answer, or the method has nothing to tell. Clients are asked in groups, so that memory does
    not grow with the population.
    """
    there, found = strategy.members.ids(), Errors(0.0, 0.0, torch.zeros(strategy.dim, dtype=torch.float64))
    carried = {WHOLE: (records.pack_model(x), None)}
    with strategy.ledger.apart():
        for clients in groups(there, strategy.dim):
            messages = strategy.nodes.post.messages(Kind.MEASURE, clients, strategy.last.number, carried)
            heard = strategy.open(exchange(grid, messages, timeout=PATIENCE)[0]).heard
            some = total(heard.payloads, strategy.members.weights[torch.from_numpy(heard.clients)], strategy.dim)
            if some is None or len(heard) < len(clients):
                return None
            compression, momentum = found.compression + some.compression, found.momentum + some.momentum
            found = Errors(compression, momentum, found.v + some.v)
    return found
