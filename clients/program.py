"""What the clients of a shard answer: settle, gradient, step, stage, reply.

One code path for a single client on a device, for Flower's simulation and for a resident tile of
many: everything here works on rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from clients import METHODS
from clients.outbox import Answer, Asked, Outbox
from fl_ef21 import randomness, wire
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed, whole
from fl_ef21.plan import Plan
from fl_ef21.state import Rows
from fl_ef21.store import Store
from fl_ef21.types import Problem

CANNOT = (ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]  # a vector without a message: NaN, overflow


class Program:
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

    def answer(self, x: Tensor | None, clients: Sequence[int], blocks: Sequence[bytes]) -> list[Answer]:
        """Answers in the order of the instructions; all of them carry the same model x (d,) or none."""
        answers: dict[int, Answer] = {}
        tiles: dict[tuple[object, ...], list[Asked]] = {}
        for at, (client, packed) in enumerate(zip(clients, blocks, strict=True)):
            try:
                block = self._accept(client, packed)
            except Refused as refused:
                answers[at] = refused
                continue
            # tiles are cut by client id, so that a client's neighbours do not depend on the shards
            group = (block.kind, block.plan, block.experiment, block.round, client // self.tile)
            tiles.setdefault(group, []).append(Asked(at, client, block, packed))
        outbox, opened = Outbox(), list[tuple[bytes, Rows]]()
        todo = list(tiles.values())
        for asked, after in zip(todo, [*todo[1:], []], strict=True):
            if after and after[0].block.kind in (Kind.TRAIN, Kind.AUDIT):
                self.store.expect(after[0].block.experiment, [one.client for one in after])
            answers |= self._tile(x, asked, outbox, opened)
        answers |= outbox.seal()
        for experiment, rows in opened:
            self.store.close(experiment, rows)
        return [answers[at] for at in range(len(answers))]

    def _accept(self, client: int, packed: bytes) -> Block:
        block = Block.unpack(packed)
        if block.kind != Kind.HELLO and block.client != client:
            raise Refused("client", f"this is client {client}, the instruction is for {block.client}")
        if block.source != self.source:
            raise Refused("source", "server and client run different code or scenarios")
        if block.plan >= len(self.plans):
            raise Refused("plan", f"there are {len(self.plans)} methods, not {block.plan + 1}")
        return block

    def _tile(
        self, x: Tensor | None, asked: list[Asked], outbox: Outbox, opened: list[tuple[bytes, Rows]]
    ) -> dict[int, Answer]:
        first = asked[0].block
        if first.kind == Kind.HELLO:
            return {one.at: (replace(one.block, client=one.client).pack(), b"") for one in asked}
        span = range(min(one.client for one in asked), max(one.client for one in asked) + 1)
        if first.kind == Kind.RETIRE:
            self.store.forget(first.experiment, span)
            return {one.at: (one.packed, b"") for one in asked}
        plan = self.plans[first.plan]
        half = plan.half(METHODS[plan.method], max(1, first.round))
        state = type(half.start(torch.zeros(1, 1)))
        try:
            rows = self.store.open(first.experiment, state, span, self.problem.dim, plan.dtype)
        except Refused as refused:
            return {one.at: refused for one in asked}
        opened.append((first.experiment, rows))
        answers, ready = _settle(rows, asked)
        if ready and first.kind == Kind.AUDIT:
            payloads = wire.encode(whole(rows.read([rows.row(one.client) for one in ready]).g))
            answers |= {one.at: (one.packed, payload) for one, payload in zip(ready, payloads, strict=True)}
        elif ready and first.kind == Kind.TRAIN:
            answers |= self._train(plan, half, rows, x, ready, outbox)
        return answers

    def _train(
        self, plan: Plan, half: Any, rows: Rows, x: Tensor | None, asked: list[Asked], outbox: Outbox
    ) -> dict[int, Answer]:
        """Compute what is asked into the outbox; answers are for those who cannot."""
        if x is None or x.shape != (self.problem.dim,) or x.dtype != plan.dtype:
            wrong = Refused("model", f"expected {plan.dtype} of shape ({self.problem.dim},)")
            return {one.at: wrong for one in asked}
        q = self.problem.gradients(x, torch.tensor([one.client for one in asked]), asked[0].block.round)
        finite = torch.isfinite(q.sum(dim=1)).tolist()  # a sum that overflows is a divergence too
        begins = half.dense_start and plan.start == "gradient"
        starting = [begins and rows.points[rows.row(one.client)].version == 0 for one in asked]
        answers: dict[int, Answer] = {
            one.at: Refused("gradient", "the gradient is not finite")
            for one, good in zip(asked, finite, strict=True)
            if not good
        }
        for first in (True, False):
            some = [n for n in range(len(asked)) if finite[n] and starting[n] == first]
            if not some:
                continue
            members = [asked[n] for n in some]
            at = [rows.row(one.client) for one in members]
            mine = q if len(some) == len(asked) else q[some]
            try:
                s, c = (half.start(mine), whole(mine)) if first else self._step(plan, half, rows, at, mine, members)
            except CANNOT as error:
                answers |= {one.at: Refused("value", str(error)) for one in members}
                continue
            rows.write(at, s)
            outbox.add((asked[0].block.plan, first), rows, at, members, c)
        return answers

    def _step(
        self, plan: Plan, half: Any, rows: Rows, at: list[int], q: Tensor, members: list[Asked]
    ) -> tuple[Any, Compressed]:
        ids = torch.tensor([one.client for one in members], device=q.device)
        keys = randomness.keys(plan.seed, "compressor", ids, members[0].block.round)
        return half.step(rows.read(at), q, lambda u: plan.compressor(u, keys))  # type: ignore[no-any-return]


def _settle(rows: Rows, asked: list[Asked]) -> tuple[dict[int, Answer], list[Asked]]:
    """Bring each client to what the server holds; who cannot is answered, the others are returned."""
    answers: dict[int, Answer] = {}
    ready: list[Asked] = []
    for one in asked:
        row = rows.row(one.client)
        if one.block.seq < rows.seen[row]:
            answers[one.at] = (Block.answered(one.packed, Kind.STALE), b"")
            continue
        rows.seen[row] = one.block.seq
        if rows.settle(row, one.block.point):
            ready.append(one)
        else:
            answers[one.at] = (replace(one.block, kind=Kind.LACKS, point=rows.points[row]).pack(), b"")
    return answers, ready
