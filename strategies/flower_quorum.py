"""Who is asked in a round, whose replies are enough, and when there are too few.

With over-selection more are asked than are wanted, and the first of the usable replies are taken: on a deployment those
that arrive first, in a simulation those of the clients that were drawn first. The latter are a fair sample, and without
losses the very clients that are asked without over-selection.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Message

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from strategies import flower_buffer
from strategies.flower_exchange import Enough
from strategies.flower_replies import read
from strategies.rounds import Heard, round_half_up

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy


@dataclass(frozen=True)
class Quorum:
    """What a round needs.

    Attributes:
      least: with fewer usable replies in time it is abandoned; None where it never is.
      factor: how many times as many clients are asked as are wanted, >= 1.
    """

    least: int | None = None
    factor: float = 1.0


ALL = Quorum()


def asked(wanted: int, factor: float) -> int:
    """How many clients are asked where so many replies are wanted; 1.1 times 10 are 11, however it is rounded."""
    return math.ceil(factor * wanted - 1e-9)


def members(strategy: CompressedStrategy) -> Array:
    """Clients that may be asked, in order: whether they can be reached is another question."""
    there = strategy.members.ids()
    there = there[~np.isin(there, list(strategy._leaving))] if strategy._leaving else there
    return there[~strategy.guard.out[there]]


def wanted(strategy: CompressedStrategy, round: int) -> int:
    """Of how many clients replies are wanted. It depends on the population alone, and so do weights."""
    n = len(members(strategy))
    if strategy.buffer is not None and not strategy.begins(round):
        return min(n, strategy.buffer.replies)
    return n if strategy.begins(round) else min(n, max(1, round_half_up(strategy.participation * n)))


def draw(strategy: CompressedStrategy, round: int) -> Array:
    """Who is asked, in the order of the draw, which depends on (seed, round) and on who can be reached."""
    there, m = members(strategy), wanted(strategy, round)
    there = there[strategy.nodes.reachable()[there]]
    if strategy.begins(round):
        return there
    if strategy.buffer is not None:
        there = flower_buffer.idle(strategy, there)
        m = min(len(there), max(0, strategy.buffer.at_work - len(strategy.busy)))
    else:
        m = min(len(there), asked(m, strategy.quorum.factor))
    if m == len(there) and strategy.quorum.factor == 1:
        return there
    key = randomness.key(strategy.plan.seed, "participation", round=round)
    chosen: Array = there[randomness.drawn(len(there), m, key).numpy()]
    return chosen


def enough(strategy: CompressedStrategy, round: int) -> Enough | None:
    """On a deployment: whether as many usable replies are there as are wanted. None where everybody is waited for.

    Of buffered rounds replies to earlier ones count.
    """
    buffered = strategy.buffer is not None
    if (strategy.quorum.factor == 1 and not buffered) or strategy.begins(round):
        return None
    usable, m, seen = set[int](), wanted(strategy, round), 0

    def there(replies: Sequence[Message]) -> bool:
        nonlocal seen
        for message in replies[seen:]:
            try:
                packed, payload = read(message)
                block = Block.unpack(packed)
                if strategy.nodes.post.keys is not None:
                    strategy.nodes.post.keys.check(message, packed, block.client)
            except Refused:
                continue
            heard = Heard(np.array([block.client]), np.array([block.point.version]), [payload])
            if (
                block.kind == Kind.UPDATE
                and (buffered or block.round == round)
                and strategy.adder.readable(heard).all()
            ):
                usable.add(block.client)
        seen = len(replies)
        return len(usable) >= m

    return there


def arrival(strategy: CompressedStrategy, replies: Sequence[Message]) -> list[int]:
    """The clients whose replies these are, in their order."""
    clients = {node: client for client, node in strategy.nodes.of.items()}
    said = (clients.get(reply.metadata.src_node_id) for reply in replies)
    return list(dict.fromkeys(client for client in said if client is not None))


def surplus(strategy: CompressedStrategy, heard: Heard, on_time: Array, replies: Sequence[Message]) -> Array:
    """(m,) bool: usable replies of this round beyond those that are wanted."""
    over = np.zeros(len(heard), bool)
    if len(heard) <= strategy.wanted or strategy.quorum.factor == 1:
        return over
    order = arrival(strategy, replies) if strategy._order is None else strategy._order
    usable = np.flatnonzero(on_time & strategy.adder.readable(heard))
    place = np.full(strategy.clients, strategy.clients)
    place[list(order)] = np.arange(len(order))
    over[usable[np.argsort(place[heard.clients[usable]], kind="stable")[strategy.wanted :]]] = True
    return over
