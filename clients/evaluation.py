"""What a client answers to an evaluation: sums over its own samples. Its state is neither needed nor touched."""

from __future__ import annotations

import torch
from torch import Tensor

from clients.asked import Answers, Asked
from fl_ef21.errors import Refused
from fl_ef21.measured import pack
from fl_ef21.plan import Plan
from fl_ef21.types import Problem


def answer(problem: Problem, plan: Plan, x: Tensor | None, asked: Asked, answers: Answers) -> None:
    """Figures of each of these clients at x (d,), by itself, so that they do not depend on who is asked beside it."""
    if x is None or x.shape != (problem.dim,) or x.dtype != plan.dtype:
        return answers.refuse(asked, Refused("model", f"expected {plan.dtype} of shape ({problem.dim},)"))
    answers.say(asked, asked.kind, pack(problem.sums(x, torch.from_numpy(asked.clients))))
