"""What becomes of a round's replies: refused, added into g, kept for the next round, or all of no effect."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from flwr.app import Message

from fl_ef21.blocks import Array
from fl_ef21.threads import computing_with
from fl_ef21.traffic import Traffic
from strategies import conduct, flower_quorum, population, steps
from strategies.adding import Added
from strategies.flower_post import Letters
from strategies.rounds import Round

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy

log = logging.getLogger("fl_ef21")


def aggregate(strategy: CompressedStrategy, round: int, replies: Sequence[Message]) -> Round:
    """Refuse what cannot be used, add the rest into g in client order, step the model.

    Where fewer usable replies came in time than a round needs, model, g and ledger stay as they are.
    """
    before, fresh = strategy._held, replies
    replies = [*(message for held in before.values() for message in held), *replies]
    left, joined = population.change(strategy)  # before: who says goodbye in a reply leaves with the next round
    letters = strategy.open(replies)
    punctual = letters.rounds == round
    over = flower_quorum.surplus(strategy, letters.heard, punctual, replies)
    heard, on_time = letters.heard[np.flatnonzero(~over)], punctual[~over]
    scale = 1.0 if strategy.server.remembers else len(strategy.members.ids()) / max(1, strategy.wanted)
    with computing_with(1):
        added = strategy.adder.judged(heard, scale, partial(conduct.judge, strategy))
    strategy.downlink.confirm(letters.heard.clients[punctual])
    strategy._held = _kept(strategy, letters.heard.clients[over], fresh)
    used, refused = added.used, letters.refused + list(added.refused.values())
    reasons, first = Counter(one.reason for one in refused), str(refused[0]) if refused else ""
    counting = on_time if strategy.buffer is None else np.ones_like(on_time)
    in_time = int(counting.sum()) - int(counting[list(added.refused)].sum())
    abandoned = in_time < (strategy.quorum.least or (0 if strategy.buffer is None else 1))
    if abandoned:
        _tell(strategy, round, in_time, first)
        used = used[np.empty(0, np.int64)]
    else:
        steps.make_real(strategy, round, added.c, used.clients, used.payloads)
    out, gone = ((), ()) if abandoned else _conduct(strategy, added, heard.clients)
    strategy._changed = (left, joined, used.clients, used.payloads)
    again = ~punctual & np.isin(letters.heard.clients, list(before))
    asked_in = dict(zip(letters.heard.clients.tolist(), letters.rounds.tolist(), strict=True))
    staleness = tuple(round - asked_in[client] for client in used.clients.tolist())
    return Round(
        round, len(strategy._sent), len(used), dict(reasons), first, _uplink(letters, again),
        strategy._sent.total, 0 if abandoned else int((~on_time).sum()), int(over.sum()), abandoned,
        strategy._repaired, out, gone, staleness, _spent(strategy, round, letters, over, again, added, replies),
    )  # fmt: skip


def _kept(strategy: CompressedStrategy, clients: Array, replies: Sequence[Message]) -> dict[int, list[Message]]:
    """What these clients said, for the next round, where late replies are wanted."""
    if strategy.late == "discard" or not len(clients):
        return {}
    strategy.ledger.reopen(clients)
    of = {strategy.nodes.of[client]: client for client in clients.tolist()}
    held: dict[int, list[Message]] = {client: [] for client in clients.tolist()}
    for message in replies:
        if (node := message.metadata.src_node_id) in of:
            held[of[node]].append(message)
    return held


def _tell(strategy: CompressedStrategy, round: int, in_time: int, first: str) -> None:
    told = f"{in_time} of at least {strategy.quorum.least} usable replies came in time"
    log.warning("%s: round %d is abandoned: %s%s", strategy.plan.label, round, told, f"; {first}" if first else "")


def _conduct(strategy: CompressedStrategy, added: Added, clients: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Remember who went how far; who is asked no more from now on, and who leaves."""
    if added.verdict is not None:
        strategy.guard.commit(added.verdict)
    return conduct.strike(strategy, clients[sorted(added.refused)].tolist())


def _uplink(letters: Letters, again: Array) -> int:
    """Bytes of payloads that came with this round; those that were kept came with an earlier one."""
    return sum(len(payload) for payload in letters.heard[np.flatnonzero(~again)].payloads)


def _spent(
    strategy: CompressedStrategy, round: int, letters: Letters, over: Array, again: Array, added: Added,
    replies: Sequence[Message],
) -> Traffic | None:  # fmt: skip
    """What the round cost, the surplus too. again: whose replies came with an earlier round and were kept."""
    punctual = letters.rounds == round
    measured = np.zeros((2, len(over)))
    measured[:, ~over] = added.measured
    if over.any():
        measured[:, over] = strategy.adder.add(letters.heard[np.flatnonzero(over)], 0.0).measured
    came, late = (
        (letters.heard[np.flatnonzero(which)], measured[:, which]) for which in (punctual, ~punctual & ~again)
    )
    return strategy.account.round(round, strategy.down, came, late, replies, strategy.nodes.of)
