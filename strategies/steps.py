"""A round becomes real: the server half's step, the model's, and what clients hear of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fl_ef21.blocks import Array
from fl_ef21.threads import computing_with
from strategies import SERVERS

if TYPE_CHECKING:
    from strategies.flower import CompressedStrategy


def server(strategy: CompressedStrategy, round: int, share: float = 1.0) -> Any:
    """The server half with this round's hyperparameters; share: of those who are there, by weight, who was heard."""
    named = strategy.facts.server
    kind: type[Any] = SERVERS[named] if isinstance(named, str) else named
    return strategy.plan.half(kind, round, share=share, shapes=strategy.shapes)


def told(strategy: CompressedStrategy) -> Tensor | None:
    """(d,) in the model's dtype: what clients hear besides the model, None where that is nothing."""
    match strategy.facts.hears:
        case "g":
            return strategy.state.g.to(strategy.descent.x.dtype)  # type: ignore[no-any-return]
        case "before":
            return strategy.descent.before
        case _:
            return None


def direction(strategy: CompressedStrategy) -> Tensor:
    """What the model is stepped by, (d,), where g is the sum over the weights of who is there."""
    half, s = strategy.server, strategy.state
    share = 1 if strategy.rows is not None else strategy.members.share
    if share != 1:
        s = replace(s, **{field.name: getattr(s, field.name) / share for field in fields(s)})
    found: Tensor = half.direction(s) if hasattr(half, "direction") else s.g
    return found


def make_real(strategy: CompressedStrategy, round: int, c: Tensor, clients: Array, payloads: Sequence[bytes]) -> None:
    """The sum c (d,) of these messages is in g, the model makes its step, the ledger follows."""
    if not len(clients):
        return
    if strategy.rows is None:
        heard = float(strategy.members.weights[torch.from_numpy(clients)].sum())
        strategy.server = server(strategy, round, heard / strategy.members.share)
        strategy.state = strategy.server.step(strategy.state, c)
    else:
        strategy.rows.take(clients, strategy.ledger.points.version[clients], payloads, strategy.adder.forms)
        with computing_with(1):
            strategy.state = replace(strategy.state, g=strategy.rows.value(strategy.members.now, round))
    gamma = strategy.plan.gamma(round)
    g = strategy.downlink.heard(direction(strategy), gamma, round)
    strategy.downlink.advance(strategy.descent.step(g, gamma), round, strategy.told)
    strategy.ledger.commit(clients, payloads)
    if strategy.history is not None:
        strategy.history.add(clients, payloads)
