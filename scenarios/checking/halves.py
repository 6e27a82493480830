"""Whether a method's halves are values: what they return depends on what they are given, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients import stepping
from fl_ef21 import wire
from fl_ef21.checking.claims import require
from fl_ef21.facts import facts_of
from fl_ef21.oracle import Oracle
from fl_ef21.plan import Plan
from fl_ef21.replay import Forms
from fl_ef21.types import Problem
from scenarios.checking.small import CLIENTS, Subject
from scenarios.suiting import server_of

STEPS = 4


def says_what_it_must(subject: Subject) -> None:
    """Frozen dataclasses; a state of (n, d) tensors; `g` where the server remembers."""
    half, setup = subject.half, subject.setup()
    server = server_of(half)
    for kind in (half, server):
        frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        require(frozen, f"{kind.__name__} must be a frozen dataclass of its hyperparameters")
    require(isinstance(getattr(server, "remembers", None), bool), f"{server.__name__} must say whether it remembers")
    zero = torch.zeros(setup.problem.dim, dtype=torch.float64)
    at_server = setup.plans[0].half(server, 1, share=1.0, shapes=setup.problem.shapes).start(zero)
    require(hasattr(at_server, "g"), f"the state of {server.__name__} needs a field g, the gradient of the optimizer")
    state, like = tile(subject, range(CLIENTS)).state, torch.zeros(CLIENTS, setup.problem.dim, dtype=torch.float64)
    require(is_dataclass(state), "the state must be a frozen dataclass of vectors")
    for name, value in tensors(state).items():
        good = isinstance(value, Tensor) and value.shape == like.shape and value.dtype == like.dtype
        shape = f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        require(good, f"state.{name} is {shape}; every field is an (n, d) tensor like q, here {tuple(like.shape)}")
    if subject.remembers:
        require("g" in tensors(state), "the server remembers a sum, so the state must have a field g: its part of it")


def leaves_its_inputs_alone(subject: Subject) -> None:
    for half, plan, s, o, clients, t in steps(subject, range(CLIENTS)):
        before = {name: value.clone() for name, value in tensors(s).items()}
        given = o.clone() if isinstance(o, Tensor) else o.x.clone()
        half.step(s, o, compress(plan, o, clients, t))
        for name, value in before.items():
            require(torch.equal(tensors(s)[name], value), f"step changed state.{name} in place; return a new state")
        require(torch.equal(o if isinstance(o, Tensor) else o.x, given), "step changed what it was given in place")


def answers_alike_twice(subject: Subject) -> None:
    for half, plan, s, o, clients, t in steps(subject, range(CLIENTS)):
        first, second = (half.step(s, o, compress(plan, o, clients, t)) for _ in range(2))
        require(torch.equal(first[1].dense(), second[1].dense()), "the same step twice gave two messages")
        for name, value in tensors(first[0]).items():
            require(torch.equal(value, tensors(second[0])[name]), f"the same step twice gave two states: {name}")


def clients_are_alone(subject: Subject) -> None:
    """Bitwise the same state and message in a tile of all clients as in a tile of one."""
    together = list(steps(subject, range(CLIENTS)))
    for i in range(CLIENTS):
        for all_of_them, alone in zip(together, steps(subject, range(i, i + 1)), strict=True):
            s, c = all_of_them[0].step(*all_of_them[2:4], compress(*_last(all_of_them)))
            mine, d = alone[0].step(*alone[2:4], compress(*_last(alone)))
            told = f"of client {i} is another one where it is computed alone: sum rows with compressors.rows.sums"
            require(torch.equal(c.dense()[i], d.dense()[0]), f"the message {told}")
            for name, value in tensors(mine).items():
                require(torch.equal(value[0], tensors(s)[name][i]), f"state.{name} {told}")


def messages_are_what_it_says(subject: Subject) -> None:
    """A server that goes by `message` decodes what clients encode."""
    setup = subject.setup()
    forms = Forms.of(setup.plans[0], setup.problem.dim, subject.half)
    for half, plan, s, o, clients, t in steps(subject, range(CLIENTS)):
        _, c = half.step(s, o, compress(plan, o, clients, t))
        decoded, refused = wire.decode(wire.encode(c), forms.other)
        told = f"message = {facts_of(half).message!r} is not what it sends: {next(iter(refused.values()), '')}"
        require(not refused and torch.equal(decoded.dense(), c.dense()), told)


def tensors(state: Any) -> dict[str, Tensor]:
    """A state's fields."""
    return dict(vars(state))


def tile(subject: Subject, clients: range) -> Any:
    """The half, its first state, what it was given, the plan and the problem."""
    setup = subject.setup()
    plan, problem = setup.plans[0], setup.problem
    half = plan.half(subject.half, 1)
    o = given(half, plan, problem, problem.x0(), clients, 1)
    return SimpleNamespace(half=half, state=half.start(o), o=o, plan=plan, problem=problem)


def steps(subject: Subject, clients: range) -> Iterator[tuple[Any, Plan, Any, Any, range, int]]:
    """Half, plan, state, what it is given, clients, round: of some steps one after another, on a model that moves."""
    begun = tile(subject, clients)
    s, x = begun.state, begun.problem.x0()
    for t in range(2, 2 + STEPS):
        x = x - 0.1 * torch.sin(torch.arange(len(x), dtype=x.dtype) + t)
        half = begun.plan.half(subject.half, t)
        o = given(half, begun.plan, begun.problem, x, clients, t)
        yield half, begun.plan, s, o, clients, t
        s, _ = half.step(s, o, compress(begun.plan, o, clients, t))


def given(half: Any, plan: Plan, problem: Problem, x: Tensor, clients: range, t: int) -> Any:
    """What a half is asked with: an Oracle, or q."""
    facts = facts_of(half)
    sent = torch.cat([x, 0.1 * torch.cos(x)]) if facts.hears else x
    o: Oracle = stepping.oracle_of(problem, plan, facts, sent, _members(clients, t), "cpu")
    return o if facts.asks else o.q


def compress(plan: Plan, o: Any, clients: range, t: int) -> Any:
    return stepping.compress_of(plan, o, _members(clients, t))


def _members(clients: range, t: int) -> Any:
    return SimpleNamespace(clients=np.array(clients, dtype=np.int64), round=t)


def _last(step: tuple[Any, Plan, Any, Any, range, int]) -> tuple[Plan, Any, range, int]:
    return step[1], step[3], step[4], step[5]
