"""What a server asks its clients besides training: their g, what other compressors would send, to forget."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from flwr.serverapp import Grid

from fl_ef21 import records, wire
from fl_ef21.commit import Kind
from fl_ef21.flower_internals import sendable
from fl_ef21.shadow import Seen, means
from strategies.downlink import WHOLE
from strategies.rounds import groups
from strategies.shadow import watched, words

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

log = logging.getLogger("fl_ef21")


def audit(strategy: CompressedStrategy, grid: Grid) -> float | None:
    """As `CompressedStrategy.audit`; clients are asked in groups, so that memory does not grow with the population."""
    if not strategy.server.remembers:
        return None
    total, now = torch.zeros(strategy.dim, dtype=torch.float64), strategy.last.number
    apart = size = 0.0  # of single clients' g, where the server holds those
    for clients in groups(strategy.members.ids(), strategy.dim):
        messages = strategy.nodes.post.messages(Kind.AUDIT, clients, now, repairs=strategy.repairs(clients))
        heard = strategy.open(grid.send_and_receive(sendable(grid, messages), timeout=600)).heard
        strategy.account.aside(str(now), [len(payload) for payload in heard.payloads], len(clients))
        if len(heard) < len(clients):
            silent = np.setdiff1d(clients, heard.clients).tolist()
            told = ", ".join(map(str, silent[:10])) + (f" and {len(silent) - 10} more" if len(silent) > 10 else "")
            log.warning("round %d: g could not be audited, clients %s did not tell their g", now, told)
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
    carried = {WHOLE: (records.pack_model(strategy.downlink.w), None)}
    messages = strategy.nodes.post.messages(Kind.SHADOW, clients, round, carried)
    heard = strategy.open(grid.send_and_receive(messages, timeout=600)).heard
    return means(words(strategy.plan, strategy.dim), heard.payloads)


def retire(strategy: CompressedStrategy, grid: Grid) -> None:
    """As `CompressedStrategy.retire`."""
    if strategy.nodes.of:
        clients, now = np.array(sorted(strategy.nodes.of)), strategy.last.number
        messages = strategy.nodes.post.messages(Kind.RETIRE, clients, now)
        heard = list(grid.send_and_receive(sendable(grid, messages), timeout=60))
        strategy.account.aside(str(now), [0] * len(heard), len(clients))
