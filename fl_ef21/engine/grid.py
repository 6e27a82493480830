"""RayGrid: a Flower Grid whose clients stay where their data and state are."""

from __future__ import annotations

import itertools
import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fl_ef21 import records
from fl_ef21.engine.pool import Build, Settings, ShardLost, open_pool, split
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import (
    CLIENT_RAISED,
    NODE_UNAVAILABLE,
    Run,
    error_reply,
    identify,
    name_message,
    new_run,
)

_Batch = tuple[Any, list[Message], bool]  # a handle, its messages, whether the batched form answers


class RayGrid(Grid):
    """Runs any Flower strategy over shards of resident clients.

    Node ids are client numbers plus one. A message of our protocol is answered by the batched form,
    every other by the ClientApp with its context kept in the shard.
    """

    def __init__(
        self, clients: int, *, app: ClientApp | None = None, batched: Build | None = None,
        settings: Settings | None = None, run_config: dict[str, Any] | None = None, tile: int = 16,
    ) -> None:  # fmt: skip
        """`tile`: clients a shard computes together; shards hold whole tiles."""
        if app is None and batched is None:
            raise ValueError("a grid needs a ClientApp, a batched form, or both")
        settings = settings or Settings()
        self.clients = clients
        blocks = split(clients, max(1, settings.actors), tile if batched else 1)
        self._starts = [block.start for block in blocks]
        self._run = new_run(1)
        identify(self._run.run_id)
        self._has_batched = batched is not None
        self._pool = open_pool(settings, blocks, batched, app, run_config or {})
        self._names = itertools.count(1)
        self._pending: list[_Batch] = []
        self._early: dict[str, Message] = {}

    def __enter__(self) -> RayGrid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the actors, and Ray if it was started here."""
        self._pool.close()

    def set_run(self, run: Run) -> None:
        self._run = run
        identify(run.run_id)

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> list[int]:
        return list(range(1, self.clients + 1))

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names, parts = [], self._parts(messages)
        for (shard, _, batched), members in parts.items():
            for message in members:
                name_message(message, str(next(self._names)))
                names.append(message.metadata.message_id)
            self._pending.append((self._submit(shard, members, batched), members, batched))
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._collect(timeout=0.001)
        return [self._early.pop(name) for name in message_ids if name in self._early]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        names = self.push_messages(messages)
        self._collect(timeout)
        return [self._early.pop(name) for name in names if name in self._early]

    def _parts(self, messages: Iterable[Message]) -> dict[tuple[int, int, bool], list[Message]]:
        """Messages that go to one shard with one model object, in order of node."""
        parts: dict[tuple[int, int, bool], list[Message]] = {}
        for message in sorted(messages, key=lambda m: m.metadata.dst_node_id):
            client = message.metadata.dst_node_id - 1
            if not 0 <= client < self.clients:
                raise ValueError(f"there is no node {client + 1}; nodes are 1 to {self.clients}")
            batched = self._has_batched and records.PROTOCOL in message.content
            shared = id(message.content[records.MODEL]) if batched and records.MODEL in message.content else 0
            key = (bisect_right(self._starts, client) - 1, shared, batched)
            parts.setdefault(key, []).append(message)
        self._shared: dict[int, Any] = {}
        return parts

    def _submit(self, shard: int, members: list[Message], batched: bool) -> Any:
        clients = [message.metadata.dst_node_id - 1 for message in members]
        if not batched:
            return self._pool.submit(shard, "call", list(zip(clients, members, strict=True)))
        blocks = [records.read_block(message.content) for message in members]
        model = members[0].content.get(records.MODEL)
        return self._pool.submit(shard, "answer", self._share(model), clients, blocks)

    def _share(self, model: Any) -> Any:
        if not isinstance(model, ArrayRecord):
            return None
        if id(model) not in self._shared:
            self._shared[id(model)] = self._pool.share(records.unpack_model(model).numpy())
        return self._shared[id(model)]

    def _collect(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        waiting: list[_Batch] = []
        for handle, members, batched in self._pending:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                got = self._pool.collect(handle, left)
            except TimeoutError:
                waiting.append((handle, members, batched))
                continue
            except ShardLost as lost:
                replies = [error_reply(message, NODE_UNAVAILABLE, str(lost)) for message in members]
            else:
                replies = _replies(members, got) if batched else got
            for message, reply in zip(members, replies, strict=True):
                self._early[message.metadata.message_id] = reply
        self._pending = waiting


def _replies(members: Sequence[Message], answers: Sequence[tuple[bytes, bytes] | Refused]) -> list[Message]:
    return [
        error_reply(message, CLIENT_RAISED, str(answer)) if isinstance(answer, Refused)
        else Message(records.reply(*answer), reply_to=message)
        for message, answer in zip(members, answers, strict=True)
    ]  # fmt: skip
