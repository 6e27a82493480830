"""One step of a tile of clients: what a half is asked with, its first state, its messages."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients import fused
from clients.asked import Asked
from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.facts import Facts
from fl_ef21.messages import Compressed, whole
from fl_ef21.oracle import Oracle
from fl_ef21.plan import Plan
from fl_ef21.state import Rows
from fl_ef21.types import Compress, Problem

LAST = "x"  # the field that holds the model a client received last


def length(facts: Facts, dim: int) -> int:
    """Numbers of what is sent as the model: with the second vector, where the half hears one."""
    return 2 * dim if facts.hears else dim


def oracle_of(problem: Problem, plan: Plan, facts: Facts, x: Tensor, asked: Asked, device: str) -> Oracle:
    """What these clients may be asked; x is what was sent as the model, `length(facts, d)` numbers."""
    ids, d = torch.from_numpy(asked.clients), problem.dim
    x = x.to(device)
    ratio = torch.ones(len(ids), 1, dtype=plan.dtype, device=device)
    if plan.weights is not None:
        ratio = (problem.weights / plan.weights)[ids, None].to(ratio)
    model, told = (x[:d], x[d:]) if facts.hears else (x, None)
    return Oracle(problem, model, told, ids.to(device), asked.round, plan.seed, ratio)


def begin(half: Any, rows: Rows, at: Array, o: Oracle | Tensor) -> Compressed:
    """First states beside the committed ones, and first messages: what the states hold as g, else q itself."""
    s = half.start(o)
    rows.write(at, s)
    return whole(s.g if hasattr(s, "g") else o.q if isinstance(o, Oracle) else o)


def step(half: Any, plan: Plan, rows: Rows, at: Array, o: Oracle | Tensor, members: Asked) -> Compressed:
    """The messages of one step, whose new states are written beside the committed ones; o is q unless the half asks."""
    if isinstance(o, Tensor) and (done := fused.step(half, plan.each(members.clients), rows, at, o)) is not None:
        return done
    s, c = half.step(current(rows, at, o), o, compress_of(plan, o, members))
    rows.write(at, s)
    return c  # type: ignore[no-any-return]


def current(rows: Rows, at: Array, o: Oracle | Tensor) -> Any:
    """The committed states of these rows. Who has no model of an earlier round has the one received now."""
    s = rows.read(at)
    if isinstance(o, Tensor) or LAST not in {f.name for f in fields(s)}:
        return s
    fresh = torch.from_numpy(np.asarray(rows.points.version[at] == 0))[:, None].to(s.x.device)
    return replace(s, x=torch.where(fresh | s.x[:, :1].isnan(), o.here.to(s.x), s.x))


def compress_of(plan: Plan, o: Oracle | Tensor, members: Asked) -> Compress:
    """C with the randomness of these clients in this round; of each further call with its own."""
    ids = torch.from_numpy(members.clients).to((o if isinstance(o, Tensor) else o.x).device)
    calls = itertools.count(1)

    def C(u: Tensor) -> Compressed:
        call = next(calls)
        purpose = "compressor" if call == 1 else f"compressor, call {call}"
        return plan.compress(u, randomness.keys(plan.seed, purpose, ids, members.round), ids)

    return C
