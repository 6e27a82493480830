"""What the clients of a shard answer: settle, gradient, step, stage, reply.

One code path for a single client on a device, for Flower's simulation and for a resident tile of
many: everything here works on rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clients import METHODS, evaluation, lyapunov, shadow, stepping
from clients.asked import Answer, Answers, Asked
from clients.image import Imaged
from clients.mending import mend
from clients.model import Told, at_hand
from clients.outbox import Outbox
from fl_ef21 import blocks, wire
from fl_ef21.blocks import Array
from fl_ef21.commit import Kind, Point
from fl_ef21.engine import memory
from fl_ef21.errors import Refused
from fl_ef21.facts import Facts, facts_of
from fl_ef21.messages import whole
from fl_ef21.oracle import state_type
from fl_ef21.plan import Plan
from fl_ef21.problems.devices import on
from fl_ef21.repair import Repair
from fl_ef21.replay import Forms
from fl_ef21.state import Rows
from fl_ef21.store import Store
from fl_ef21.types import Problem

ARRAYS = 12  # of a tile's size that exist at once while it is computed on a GPU, its temporaries included
NOTHING: Mapping[int, Repair] = {}
CANNOT = (ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]  # a vector without a message: NaN, overflow


class Program(Imaged):
    """Some clients of a scenario.

    Attributes:
      problem: their data and gradients.
      plans: the scenario's methods; an instruction says which is meant.
      store: where their state lies.
      source: what the server's code and scenario must hash to.
      tile: how many clients are computed together at the most.
    """

    def __init__(self, problem: Problem, plans: Sequence[Plan], store: Store, source: bytes, tile: int) -> None:
        self.problem, self.plans, self.store, self.source, self.tile = problem, tuple(plans), store, source, tile
        self.device = "cpu"
        self._at_once: int | None = None

    def to(self, device: str) -> None:
        """Compute there from now on; before any state is kept."""
        self.problem, self.device = on(self.problem, device), device

    def answer(
        self, x: Tensor | None, clients: Sequence[int], packed: Sequence[bytes], told: Told = (),
        repairs: Mapping[int, Repair] = NOTHING,
    ) -> list[Answer]:  # fmt: skip
        """Answers in the order of the instructions; those that carry a model carry the same x (d,).

        told: what each says of the model's version, nothing where models have none. repairs: by place, what a client
        is sent that lacked something.
        """
        answers = Answers(len(packed))
        for turn in self._accept(clients, packed, answers).turns():
            for asked in turn.alike():
                self._follow(x, told, repairs, asked, answers)
        return answers.all()

    def _accept(self, clients: Sequence[int], packed: Sequence[bytes], answers: Answers) -> Asked:
        """The instructions that can be followed; the others are answered."""
        parsed, refused = blocks.parse(packed)
        asked = Asked(np.arange(len(packed)), np.asarray(clients, dtype=np.int64), parsed)
        meant = (parsed["client"] == asked.clients) | (parsed["kind"] == Kind.HELLO)
        ours, planned = blocks.same(parsed["source"], blocks.words(self.source)), parsed["plan"] < len(self.plans)
        for at in np.flatnonzero(~(meant & ours & planned)).tolist():
            if not meant[at]:
                told = f"this is client {clients[at]}, the instruction is for {parsed['client'][at]}"
                why = Refused("client", told)
            elif not ours[at]:
                why = Refused("source", "server and client run different code or scenarios")
            else:
                why = Refused("plan", f"there are {len(self.plans)} methods, not {parsed['plan'][at] + 1}")
            refused.setdefault(at, why)
        for at, why in refused.items():
            answers.refuse(asked[np.array([at])], why)
        return asked[np.setdiff1d(asked.at, list(refused))] if refused else asked

    def _follow(
        self, x: Tensor | None, told: Told, repairs: Mapping[int, Repair], asked: Asked, answers: Answers
    ) -> None:
        kind, experiment = asked.kind, asked.experiment
        if kind == Kind.HELLO:
            replies = asked.blocks.copy()
            replies["client"] = asked.clients
            return answers.put(asked, replies)
        if kind == Kind.RETIRE:
            self.store.forget(experiment, asked.span)
            return answers.say(asked, kind)
        plan = self.plans[asked.plan]
        if kind == Kind.EVALUATE:
            return evaluation.answer(self.problem, plan, x, asked, answers)
        half = plan.half(METHODS[plan.method], max(1, asked.round))
        facts = facts_of(half)
        try:
            rows = self.store.open(experiment, state_type(half), asked.span, self.problem.dim, plan.dtype)
        except Refused as refused:
            return answers.refuse(asked, refused)
        forms = Forms.of(plan, self.problem.dim, type(half)) if repairs else None
        ready = _settle(rows, asked, answers, repairs, forms)
        if len(ready) and kind == Kind.AUDIT:
            answers.say(ready, kind, wire.encode(whole(rows.read(rows.rows(ready.clients)).g)))
        elif len(ready) and kind == Kind.TRAIN:
            length = stepping.length(facts, self.problem.dim)
            for w, those in at_hand(self.store, plan, length, x, told, ready, answers, facts.steps):
                self._train(plan, half, facts, rows, w, those, answers)
        elif len(ready) and kind == Kind.SHADOW:
            for tile in ready.tiles(self.tile, by_id=not self.problem.rowwise):
                shadow.answer(self.problem, plan, half, rows, x, tile, answers, self.device)
        elif len(ready) and kind == Kind.MEASURE:
            for tile in ready.tiles(self.tile, by_id=not self.problem.rowwise):
                lyapunov.answer(self.problem, plan, rows, x, tile, answers)
        try:
            self.store.close(experiment, rows)
        except Refused as refused:  # what is not kept must not be sent
            answers.refuse(asked, refused)

    def _train(
        self, plan: Plan, half: Any, facts: Facts, rows: Rows, x: Tensor, asked: Asked, answers: Answers
    ) -> None:
        outbox = Outbox()
        tiles = asked.tiles(self._size(plan), by_id=not self.problem.rowwise)
        for tile, after in zip(tiles, [*tiles[1:], None], strict=True):
            if after is not None:
                rows.expect(rows.rows(after.clients))
            self._compute(plan, half, facts, rows, x, tile, answers, outbox)
        outbox.seal(rows, answers, plan.layers)

    def _size(self, plan: Plan) -> int:
        """Clients of a tile: on the CPU as many as suit its cache, on a GPU whole tiles that fill its free memory."""
        if self._at_once is None:
            each = ARRAYS * self.tile * self.problem.dim * plan.dtype.itemsize
            self._at_once = self.tile * (1 if self.device == "cpu" else memory.tiles(memory.room().free, each))
        return self._at_once

    def _compute(
        self, plan: Plan, half: Any, facts: Facts, rows: Rows, x: Tensor, asked: Asked, answers: Answers,
        outbox: Outbox,
    ) -> None:  # fmt: skip
        """One step of the clients of a tile, into the outbox; those who cannot are answered."""
        q, finite = None, np.ones(len(asked), bool)
        if not facts.asks:  # what an asking half makes of its gradients, the server refuses where it is not finite
            q = stepping.oracle_of(self.problem, plan, facts, x, asked, self.device).q
            finite = torch.isfinite(q.sum(dim=1)).cpu().numpy()  # a sum that overflows is a divergence too
        if not finite.all():
            answers.refuse(asked[~finite], Refused("gradient", "the gradient is not finite"))
        begins = facts.dense_start and plan.start == "gradient"
        starting = rows.points.version[rows.rows(asked.clients)] == 0 if begins else np.zeros(len(asked), bool)
        for first in (True, False):
            some = finite & (starting == first)
            if not some.any():
                continue
            members = asked if some.all() else asked[some]
            given = stepping.oracle_of(self.problem, plan, facts, x, members, self.device) if q is None else q
            given = given if q is None or some.all() else q[torch.from_numpy(some)]
            at = rows.rows(members.clients)
            try:
                c = (
                    stepping.begin(half, rows, at, given)
                    if first
                    else stepping.step(half, plan, rows, at, given, members)
                )
            except CANNOT as error:
                answers.refuse(members, Refused("value", str(error)))
                continue
            outbox.add(first, members, c)


def _settle(
    rows: Rows, asked: Asked, answers: Answers, repairs: Mapping[int, Repair], forms: Forms | None
) -> Asked:  # fmt: skip
    """Bring each client to what the server holds; who cannot is answered, the others are returned."""
    at, told = rows.rows(asked.clients), asked.blocks
    now = blocks.order(told)
    late = now < rows.seen[at]
    if late.any():
        answers.say(asked[late], Kind.STALE)
        asked, at, told, now = asked[~late], at[~late], told[~late], now[~late]
    rows.seen[at] = now
    ready = rows.settle(at, told["version"].astype(np.int64), told["chain"])
    if forms is not None:
        _mend(rows, asked, ready, repairs, forms)
    if not ready.all():
        replies = blocks.answered(told[~ready], Kind.LACKS)
        replies["version"], replies["chain"] = rows.points.version[at[~ready]], rows.points.chain[at[~ready]]
        answers.put(asked[~ready], replies)
        asked = asked[ready]
    return asked


def _mend(rows: Rows, asked: Asked, ready: Array, repairs: Mapping[int, Repair], forms: Forms) -> None:
    """Repair who is not ready and was sent what it lacks; then it is."""
    for place in np.flatnonzero(~ready).tolist():
        repair, told = repairs.get(int(asked.at[place])), asked.blocks[place]
        to = Point(int(told["version"]), told["chain"].tobytes())
        row = int(rows.rows(asked.clients[place : place + 1])[0])
        try:
            ready[place] = repair is not None and mend(rows, row, repair, to, forms)
        except Refused:  # what cannot be decoded mends nothing: the client still lacks it
            continue
