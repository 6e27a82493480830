"""Semi-asynchronous rounds: the server steps with every so many replies, whatever round asked for them.

Clients that still work are left alone, and what they answer counts in the round in which it arrives. An increment is
added as it is, however stale: scaled, as FedBuff scales its updates, it would not be what the client adds to its g_i,
and g would not be sum_i w_i g_i any more. Each of them has one open instruction and one answer, so the commit
protocol is that of every round.

Reference: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba. Federated Learning with Buffered Asynchronous
Aggregation. AISTATS 2022, arXiv 2106.06639 (the buffer; error feedback is ours).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fl_ef21.blocks import Array
from strategies.flower_exchange import Enough, Mail, Pauses

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy


@dataclass(frozen=True)
class Buffer:
    """Attributes:
    replies: that make a step.
    at_work: clients that are at work at once, at least as many.
    """

    replies: int
    at_work: int


def idle(strategy: CompressedStrategy, clients: Array) -> Array:
    """Those of the clients that are not at work; all where rounds are not buffered."""
    return clients[~np.isin(clients, strategy.busy)]


def exchange(
    strategy: CompressedStrategy, grid: Grid, messages: Iterable[Message], timeout: float | None,
    enough: Enough | None, waited: Callable[[float], object],
) -> list[Message]:  # fmt: skip
    """On a deployment: send these, and wait for replies to them and to all before until there is `enough`.

    Who has not answered `timeout` seconds after it was asked is at work no more: it is asked again.
    """
    mail = strategy.mail = strategy.mail or Mail(grid)
    mail.send(messages)
    pauses, replies = Pauses(), list[Message]()
    began = looked = time.monotonic()
    deadline = inf if timeout is None else began + timeout
    while mail.mine:
        looked = time.monotonic()
        got = mail.take()
        replies += got
        if got and enough is not None and enough(replies):
            break
        if got:
            pauses.short()
        if looked >= deadline:
            mail.drop()
            break
        mail.ask_again()
        pauses.sleep(until=deadline)
    waited(looked - began)
    nodes = {message.metadata.dst_node_id for message in mail.mine.values()}
    at_work = [client for client, node in strategy.nodes.of.items() if node in nodes]
    strategy.busy = np.array(sorted(at_work), dtype=np.int64)
    return replies
