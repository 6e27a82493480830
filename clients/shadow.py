"""What a client answers about shadow compressors: from its committed state, and nothing is staged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients import stepping
from clients.asked import Answers, Asked
from fl_ef21 import randomness, shadow
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind
from fl_ef21.errors import Refused
from fl_ef21.facts import facts_of
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.plan import Plan
from fl_ef21.state import Rows
from fl_ef21.types import Problem


def answer(
    problem: Problem, plan: Plan, half: Any, rows: Rows, x: Tensor | None, tile: Asked, answers: Answers, device: str
) -> None:
    """Figures of the clients of a tile about the message they would send next; none of who begins with a gradient."""
    facts = facts_of(half)
    if x is None or x.shape != (stepping.length(facts, problem.dim),) or x.dtype != plan.dtype:
        expected = f"({stepping.length(facts, problem.dim)},)"
        return answers.refuse(tile, Refused("model", f"expected {plan.dtype} of shape {expected}"))
    q, sound = None, np.ones(len(tile), bool)
    if not facts.asks:
        q = stepping.oracle_of(problem, plan, facts, x, tile, device).q
        sound = torch.isfinite(q.sum(dim=1)).cpu().numpy()
    at = rows.rows(tile.clients)
    if facts.dense_start and plan.start == "gradient":
        sound &= rows.points.version[at] > 0
    if sound.any():
        some = tile[sound]
        given = stepping.oracle_of(problem, plan, facts, x, some, device) if q is None else q[torch.from_numpy(sound)]
        answers.say(some, Kind.SHADOW, _figures(plan, half, rows, at[sound], given, some))
    if not sound.all():
        answers.say(tile[~sound], Kind.SHADOW)


def _figures(plan: Plan, half: Any, rows: Rows, at: Array, o: Oracle | Tensor, asked: Asked) -> list[bytes]:
    """The keys are those of the real message: a shadow that is the method's own compressor tells the same of it."""
    ids = torch.from_numpy(asked.clients).to((o if isinstance(o, Tensor) else o.x).device)
    keys = randomness.keys(plan.seed, "compressor", ids, asked.round)
    found: list[Array] = []

    def look(u: Tensor) -> Compressed:
        found.append(shadow.weigh(u, lambda v: plan.compress(v, keys, ids), plan.layers))
        found.extend(shadow.weigh(u, lambda v, C=one.C: C(v, keys), plan.layers) for one in plan.shadows)  # type: ignore[misc]
        raise _Enough

    try:
        half.step(stepping.current(rows, at, o), o, look)
    except _Enough:
        return shadow.pack(found)
    return [b""] * len(asked)  # a step that sends a whole vector, such as MARINA's with its coin


class _Enough(Exception):
    """The vectors have been seen; what the step would make of them is not wanted."""
