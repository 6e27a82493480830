"""What a client tells of its errors: from its committed state, at the model sent along; nothing is staged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clients.asked import Answers, Asked
from fl_ef21.errors import Refused
from fl_ef21.plan import Plan
from fl_ef21.problems.exact import gradient
from fl_ef21.state import Rows
from fl_ef21.theory.measured import pack
from fl_ef21.types import Problem

ESTIMATES = ("v", "h")  # fields that may hold a client's estimate of its own gradient


def answer(problem: Problem, plan: Plan, rows: Rows, x: Tensor | None, tile: Asked, answers: Answers) -> None:
    """Figures of the clients of a tile; an empty payload of those whose state has nothing that the server follows."""
    if x is None or x.shape != (problem.dim,) or x.dtype != plan.dtype:
        return answers.refuse(tile, Refused("model", f"expected {plan.dtype} of shape ({problem.dim},)"))
    s = rows.read(rows.rows(tile.clients))
    if not (hasattr(s, "g") or hasattr(s, "v")):
        return answers.say(tile, tile.kind)
    ids, exact = torch.from_numpy(tile.clients), torch.stack([gradient(problem, x, i) for i in tile.clients.tolist()])
    ratio = 1.0 if plan.weights is None else (problem.weights / plan.weights)[ids, None].to(exact)
    v = next((getattr(s, name) for name in ESTIMATES if hasattr(s, name)), None)
    v = ratio * problem.gradients(x, ids, tile.round) if v is None else v
    followed = s.u if hasattr(s, "u") else v
    g: Any = s.g if hasattr(s, "g") else v  # sent whole
    answers.say(tile, tile.kind, pack(v, followed, g, ratio * exact))
