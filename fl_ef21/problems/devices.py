"""Moves a problem to another device, as a shard does that was built where there is no GPU."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from fl_ef21.problems.attacks import Attacked
from fl_ef21.problems.local import Local
from fl_ef21.problems.modules import Module
from fl_ef21.problems.quadratic import Quadratic
from fl_ef21.problems.sampled import Model, Sampled
from fl_ef21.types import Problem


def on(problem: Problem, device: str | torch.device) -> Problem:
    """The same problem with what clients compute from on `device`; what the server holds stays on the CPU."""
    if isinstance(problem, Sampled):
        features, labels = problem.test
        return replace(
            problem,
            model=_model(problem.model, device),
            features=problem.features.to(device),
            labels=problem.labels.to(device),
            first=problem.first.to(device),
            sizes=problem.sizes.to(device),
            test=(features.to(device), labels.to(device)),
        )
    if isinstance(problem, Quadratic):
        return replace(problem, H=problem.H.to(device), b=problem.b.to(device))
    if isinstance(problem, Local):
        inner: Any = on(problem.problem, device)
        return replace(problem, problem=inner)
    if isinstance(problem, Attacked):
        theirs = tuple((ids, on(some, device)) for ids, some in problem.theirs)
        return replace(problem, problem=on(problem.problem, device), theirs=theirs)
    raise TypeError(f"{type(problem).__name__} cannot be moved to another device")


def _model(model: Model, device: str | torch.device) -> Model:
    if not isinstance(model, Module):
        return model  # softmax regression holds no tensors
    # copies, because a torch module is moved in place
    return replace(model, module=deepcopy(model.module).to(device), exact=deepcopy(model.exact).to(device))
