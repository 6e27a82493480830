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
from fl_ef21 import randomness, wire
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed, whole
from fl_ef21.plan import Plan
from fl_ef21.state import Rows
from fl_ef21.store import Store
from fl_ef21.types import Problem

CANNOT = (ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]  # a vector without a message: NaN, overflow
Answer = tuple[bytes, bytes] | Refused  # a packed block and a payload, or why there is none


class Program:
    """Some clients of a scenario.

    Attributes:
      problem: their data and gradients.
      plans: the scenario's methods; an instruction says which is meant.
      store: where their state lies.
      source: what the server's code and scenario must hash to.
    """

    def __init__(self, problem: Problem, plans: Sequence[Plan], store: Store, source: bytes, tile: int) -> None:
        self.problem, self.plans, self.store, self.source, self.tile = (
            problem,
            tuple(plans),
            store,
            source,
            tile,
        )

    def answer(self, x: Tensor | None, clients: Sequence[int], blocks: Sequence[bytes]) -> list[Answer]:
        """Answers in the order of the instructions; all of them carry the same model x (d,) or none."""
        answers: dict[int, Answer] = {}
        todo: dict[tuple[object, ...], list[tuple[int, int, Block]]] = {}
        for at, (client, packed) in enumerate(zip(clients, blocks, strict=True)):
            try:
                block = self._accept(client, packed)
            except Refused as refused:
                answers[at] = refused
                continue
            # tiles are cut by client id, so that a client's neighbours do not depend on the shards
            group = (block.kind, block.plan, block.experiment, block.round, client // self.tile)
            todo.setdefault(group, []).append((at, client, block))
        for members in todo.values():
            ids = [client for _, client, _ in members]
            instructions = [block for _, _, block in members]
            for (at, _, _), got in zip(members, self._tile(x, ids, instructions), strict=True):
                answers[at] = got
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

    def _tile(self, x: Tensor | None, clients: list[int], blocks: list[Block]) -> list[Answer]:
        kind, experiment = blocks[0].kind, blocks[0].experiment
        if kind == Kind.HELLO:
            return [(replace(b, client=i).pack(), b"") for i, b in zip(clients, blocks, strict=True)]
        span = range(min(clients), max(clients) + 1)
        if kind == Kind.RETIRE:
            self.store.forget(experiment, span)
            return [(block.pack(), b"") for block in blocks]
        plan = self.plans[blocks[0].plan]
        half = plan.half(METHODS[plan.method], max(1, blocks[0].round))
        state = type(half.start(torch.zeros(1, 1)))
        try:
            rows = self.store.open(experiment, state, span, self.problem.dim, plan.dtype)
        except Refused as refused:
            return [refused for _ in blocks]
        answers, ready = _settle(rows, clients, blocks)
        if ready and kind == Kind.AUDIT:
            self._audit(rows, clients, blocks, ready, answers)
        elif ready and kind == Kind.TRAIN:
            self._train(plan, half, rows, x, clients, blocks, ready, answers)
        self.store.close(experiment, rows)
        return [answers[at] for at in range(len(blocks))]

    def _audit(
        self,
        rows: Rows,
        clients: list[int],
        blocks: list[Block],
        ready: list[int],
        answers: dict[int, Answer],
    ) -> None:
        at = torch.tensor([rows.row(clients[j]) for j in ready])
        payloads = wire.encode(whole(rows.read(at).g))
        for j, payload in zip(ready, payloads, strict=True):
            answers[j] = (blocks[j].pack(), payload)

    def _train(
        self, plan: Plan, half: Any, rows: Rows, x: Tensor | None, clients: list[int], blocks: list[Block],
        ready: list[int], answers: dict[int, Answer],
    ) -> None:  # fmt: skip
        if x is None or x.shape != (self.problem.dim,) or x.dtype != plan.dtype:
            for j in ready:
                answers[j] = Refused("model", f"expected {plan.dtype} of shape ({self.problem.dim},)")
            return
        ids = torch.tensor([clients[j] for j in ready])
        q = self.problem.gradients(x, ids, blocks[0].round)
        finite = torch.isfinite(q).all(dim=1).tolist()
        begins = half.dense_start and plan.start == "gradient"
        for fresh in (True, False):
            some = [
                n for n, j in enumerate(ready)
                if finite[n] and fresh == (begins and rows.points[rows.row(clients[j])].version == 0)
            ]  # fmt: skip
            if some:
                chosen = slice(None) if len(some) == len(ready) else some
                members = [(ready[n], clients[ready[n]], blocks[ready[n]]) for n in some]
                try:
                    s, c = self._step(plan, half, rows, q[chosen], ids[chosen], blocks[0].round, fresh)
                except CANNOT as error:
                    answers |= {j: Refused("value", str(error)) for j, _, _ in members}
                else:
                    self._stage(rows, s, c, members, answers)
        for n, j in enumerate(ready):
            if not finite[n]:
                answers[j] = Refused("gradient", "the gradient is not finite")

    def _step(
        self, plan: Plan, half: Any, rows: Rows, q: Tensor, ids: Tensor, round: int, fresh: bool
    ) -> tuple[Any, Compressed]:
        if fresh:
            return half.start(q), whole(q)
        at = ids.to(q.device) - rows.clients.start
        keys = randomness.keys(plan.seed, "compressor", ids.to(q.device), round)
        return half.step(rows.read(at), q, lambda u: plan.compressor(u, keys))  # type: ignore[no-any-return]

    def _stage(
        self,
        rows: Rows,
        s: Any,
        c: Compressed,
        members: list[tuple[int, int, Block]],
        answers: dict[int, Answer],
    ) -> None:
        payloads = wire.encode(c)
        at = [rows.row(client) for _, client, _ in members]
        points = [rows.points[row].then(payload) for row, payload in zip(at, payloads, strict=True)]
        rows.stage(torch.tensor(at, device=rows.current.device), s, points)
        for (j, _, block), payload in zip(members, payloads, strict=True):
            answers[j] = (replace(block, kind=Kind.UPDATE).pack(), payload)


def _settle(rows: Rows, clients: list[int], blocks: list[Block]) -> tuple[dict[int, Answer], list[int]]:
    """Bring each client to what the server holds; who cannot is answered, the others are returned."""
    answers: dict[int, Answer] = {}
    ready: list[int] = []
    for j, (client, block) in enumerate(zip(clients, blocks, strict=True)):
        row = rows.row(client)
        if block.seq < rows.seen[row]:
            answers[j] = (replace(block, kind=Kind.STALE).pack(), b"")
            continue
        rows.seen[row] = block.seq
        if rows.settle(row, block.point):
            ready.append(j)
        else:
            answers[j] = (replace(block, kind=Kind.LACKS, point=rows.points[row]).pack(), b"")
    return answers, ready
