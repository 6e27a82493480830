"""Brings a client that lacks something to what the server holds of it: fl_ef21/repair.py."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.blocks import words
from fl_ef21.commit import Point
from fl_ef21.errors import Refused
from fl_ef21.repair import Repair
from fl_ef21.replay import Forms, added
from fl_ef21.state import ESTIMATES, Rows


def mend(rows: Rows, row: int, repair: Repair, to: Point, forms: Forms) -> bool:
    """Bring one client to the point `to`; False, and nothing has changed, where the repair does not lead there.

    What the client has is kept as far as it lies on the way; else g is taken from the repair, and estimates begin as g.
    A state without g has nothing that the server could know: it is kept as it is, under the new point.

    Raises: Refused where a payload cannot be decoded.
    """
    way = repair.points()
    if way[-1] != to:
        return False
    at = np.array([row])
    if rows.staged[row] in way:
        staged = rows.staged[row]
        rows.settle(at, np.array([staged.version]), words(staged.chain)[None])
    held: Any = rows.read(at)
    names = [f.name for f in fields(held)]
    state = {name: getattr(held, name) for name in names}
    if "g" in names:
        here = rows.points[row]
        known = here in way
        if not known and repair.whole is None and repair.start.version > 0:
            return False  # it is for a client that has g at the start, and this one has not
        start = way.index(here) if known else 0
        g = state["g"][0].cpu() if known else _begin(repair, rows, forms)
        g = added(g, way[start].version, repair.increments[start:], forms)
        state["g"] = g[None]
        if not known:
            state |= {name: g[None] for name in names if name in ESTIMATES}
            state |= {"x": torch.full_like(g, torch.nan)[None]} if "x" in names else {}  # not known, see stepping
    rows.write(at, rows.state(**state))
    rows.stage(at, np.array([to.version]), words(to.chain)[None])
    rows.settle(at, np.array([to.version]), words(to.chain)[None])
    return True


def _begin(repair: Repair, rows: Rows, forms: Forms) -> Tensor:
    zero = torch.zeros(rows.dim, dtype=rows.dtype)
    if repair.whole is None:
        return zero
    c, refused = wire.decode([repair.whole], forms.first)
    if refused:
        raise Refused("repair", str(refused[0]))
    return zero + c.dense()[0]
