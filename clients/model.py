"""The model that clients of a shard are to differentiate at: sent along, or made of increments and what they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from clients.asked import Answers, Asked
from fl_ef21 import blocks, shared_step
from fl_ef21.blocks import words
from fl_ef21.broadcast import Broadcast, advanced, spec_of
from fl_ef21.commit import Kind, Point
from fl_ef21.copies import Models
from fl_ef21.errors import Refused
from fl_ef21.plan import Plan
from fl_ef21.store import Store

Told = Sequence[Broadcast | None]  # of a call, an entry for each instruction


def at_hand(
    store: Store, plan: Plan, dim: int, x: Tensor | None, told: Told, asked: Asked, answers: Answers,
    steps: bool = False,
) -> Iterator[tuple[Tensor, Asked]]:  # fmt: skip
    """The model (d,) and who is to use it; who has none is answered. steps: clients make the server's step (EF21-BC).

    Nearly always one model: clients that come to it from different versions are computed together.
    """
    wrong = Refused("model", f"expected {plan.dtype} of shape ({dim},)")
    x = shared_step.both(x, dim) if steps and x is not None else x
    fits = x is not None and x.shape == (2 * dim if steps else dim,) and x.dtype == plan.dtype
    if plan.downlink is None:
        if x is None or not fits:
            return answers.refuse(asked, wrong)
        yield x, asked
        return
    models, spec = store.models(asked.experiment), spec_of(plan.downlink, dim, plan.dtype)
    grow = partial(shared_step.advanced if steps else advanced, spec=spec)
    found: dict[Point, tuple[Tensor, list[int]]] = {}
    for sent, some in _by_broadcast(told, asked):
        if sent is None:
            answers.refuse(asked[some], Refused("model", "the instruction names no version of the model"))
            continue
        if sent.increments is None and not fits:
            answers.refuse(asked[some], wrong)
            continue
        try:
            w, ready = models.bring(asked.clients[some], sent, x, grow)
        except Refused as why:
            full = why.reason == "storage"  # the disk, not what was sent
            answers.refuse(asked[some], why if full else Refused("model", str(why)))
            continue
        _behind(models, asked[some[~ready]], answers)
        if w is not None and ready.any():
            found.setdefault(sent.point, (w, []))[1].extend(some[ready].tolist())
    for w, places in found.values():
        yield w[:dim], asked[np.sort(places)]


def _by_broadcast(told: Told, asked: Asked) -> Iterator[tuple[Broadcast | None, np.ndarray]]:
    """Each distinct broadcast, and the places (m,) in `asked` of those who were sent it."""
    together: dict[int, list[int]] = {}
    mine = [told[at] if told else None for at in asked.at.tolist()]
    for place, sent in enumerate(mine):
        together.setdefault(id(sent), []).append(place)
    for places in together.values():
        yield mine[places[0]], np.array(places)


def _behind(models: Models, asked: Asked, answers: Answers) -> None:
    """Answer with the version that each of them has."""
    if not len(asked):
        return
    replies = blocks.answered(asked.blocks, Kind.BEHIND)
    for row, client in enumerate(asked.clients.tolist()):
        at = models.at(client)
        replies["version"][row], replies["chain"][row] = max(0, at.version), words(at.chain)
    answers.put(asked, replies)
