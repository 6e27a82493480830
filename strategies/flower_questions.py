"""What a server asks its clients besides training: their g, what other compressors would send, to forget."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from flwr.serverapp import Grid
from torch import Tensor

from fl_ef21 import records, wire
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind
from fl_ef21.flower_internals import deployed
from fl_ef21.shadow import Seen, means
from strategies.downlink import WHOLE
from strategies.flower_buffer import idle
from strategies.flower_exchange import exchange
from strategies.rounds import groups, names
from strategies.shadow import watched, words

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

log = logging.getLogger("fl_ef21")


QUIET = 30.0  # seconds without a sign of life after which nobody is waited for any more


def audit(strategy: CompressedStrategy, grid: Grid, anyway: bool = False) -> float | None:
    """As `CompressedStrategy.audit`; clients are asked in groups, so that memory does not grow with the population.

    A client that has not sent anything yet holds nothing. Where one that has cannot be reached, the others are asked
    only if `anyway`: what they answer tells at least who of them lacks something.
    """
    if not strategy.server.remembers:
        return None
    there = strategy.members.ids()
    reached = strategy.nodes.reachable()[there]
    gone = there[~reached & (strategy.ledger.points.version[there] > 0)]
    if len(gone):
        told = "round %d: g could not be audited, clients %s cannot be reached"
        log.warning(told, strategy.last.number, names(gone.tolist()))
    if len(gone) and not anyway:
        return None
    some, total = there[reached], torch.zeros(strategy.dim, dtype=torch.float64)
    if deployed(grid) and len(strategy.busy):  # they would answer after their work: what they sent must do
        if strategy.history is None or strategy.rows is not None:
            return None
        for client in np.intersect1d(some, strategy.busy).tolist():
            total += strategy.members.weights[client] * strategy.history.g(client).to(torch.float64)
        some = idle(strategy, some)
    with strategy.ledger.apart():  # a late reply is still awaited
        return _asked(strategy, grid, some, total)


def _asked(strategy: CompressedStrategy, grid: Grid, some: Array, total: Tensor) -> float | None:
    """The audit over these clients; `total` (d,) is what all others hold, weighted."""
    now = strategy.last.number
    apart = size = 0.0  # of single clients' g, where the server holds those
    for clients in groups(some, strategy.dim):
        messages = strategy.nodes.post.messages(Kind.AUDIT, clients, now, repairs=strategy.repairs(clients))
        replies, _ = exchange(grid, messages, timeout=600)
        heard = strategy.open(replies).heard
        strategy.account.aside(str(now), [len(payload) for payload in heard.payloads], len(clients))
        if len(heard) < len(clients):
            silent = names(np.setdiff1d(clients, heard.clients).tolist())
            log.warning("round %d: g could not be audited, clients %s did not tell their g", now, silent)
            return None
        g, refused = wire.decode(heard.payloads, strategy.adder.forms.first)
        if refused:
            return None
        if strategy.rows is None:
            total += g.total(strategy.members.weights[torch.from_numpy(clients)])
        else:
            held = strategy.rows.G[clients].to(torch.float64)
            apart = max(apart, float((held - g.dense()).norm(dim=1).max()))
            size = max(size, float(held.norm(dim=1).max()))
    if strategy.rows is not None:
        return apart / (size if size > 0 else 1.0)
    size = float(strategy.state.g.norm())
    return float((strategy.state.g - total).norm()) / (size if size > 0 else 1.0)


def shadow(strategy: CompressedStrategy, grid: Grid, round: int) -> list[Seen]:
    """As `CompressedStrategy.shadow`. Training knows nothing of it: nothing is staged, no byte of it is counted."""
    clients = watched(strategy.plan.seed, strategy.invite(round), round)
    carried = {WHOLE: (records.pack_model(strategy.downlink.model), None)}
    messages = strategy.nodes.post.messages(Kind.SHADOW, clients, round, carried)
    with strategy.ledger.apart():
        heard = strategy.open(exchange(grid, messages, timeout=600)[0]).heard
    return means(words(strategy.plan, strategy.dim), heard.payloads)


def retire(strategy: CompressedStrategy, grid: Grid) -> None:
    """As `CompressedStrategy.retire`. Nobody waits for those who are not there: a device forgets old runs by itself."""
    if strategy.nodes.of:
        strategy.nodes.look(grid)
        reached, now = strategy.nodes.reachable(), strategy.last.number
        clients = np.array([client for client in sorted(strategy.nodes.of) if reached[client]], dtype=np.int64)
        messages = strategy.nodes.post.messages(Kind.RETIRE, clients, now)
        heard, _ = exchange(grid, messages, timeout=60, quiet=QUIET)
        strategy.account.aside(str(now), [0] * len(heard), len(clients))
