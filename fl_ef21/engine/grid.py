"""RayGrid: a Flower Grid whose clients stay where their data and state are."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flwr.app import ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fl_ef21 import records
from fl_ef21.broadcast import Broadcast
from fl_ef21.engine import images, ordinary
from fl_ef21.engine.losses import Gone
from fl_ef21.engine.pool import Build, Costs, Keep, Settings, open_pool
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import (
    CLIENT_RAISED,
    NODE_UNAVAILABLE,
    Run,
    error_reply,
    identify,
    new_run,
)
from fl_ef21.flower_stamp import Stamp, name_message, name_of, node_of, records_of
from fl_ef21.image import MOST, Image
from fl_ef21.repair import Repair

CHUNK = 256  # messages of one call to a shard: a call costs Ray about 2 ms, and the driver takes replies meanwhile
_Batch = tuple[Any, list[Message], bool]  # a handle, its messages, whether the batched form answers


class _Group(NamedTuple):
    """Messages that one call can take."""

    shard: int
    model: Any  # what messages with one model have in common, 0 without one
    batched: bool


class RayGrid(Grid):
    """Runs any Flower strategy over shards of resident clients.

    Node ids are client numbers plus one. A message of our protocol is answered by the batched form,
    every other by the ClientApp with its context kept in the shard.
    """

    def __init__(
        self, clients: int, *, app: ClientApp | None = None, batched: Build | None = None,
        settings: Settings | None = None, run_config: dict[str, Any] | None = None, tile: int = 16,
        costs: Costs | None = None, heal: bool | Keep | None = None,
    ) -> None:  # fmt: skip
        """`tile`: clients a shard computes together; shards hold whole tiles. `costs`: what clients cost, so that
        shards are even in cost and not in number. `heal`: whether a shard of the batched form that dies is built
        anew with its clients' state, or how much is kept for that; by default where there are actors."""
        if app is None and batched is None:
            raise ValueError("a grid needs a ClientApp, a batched form, or both")
        self.clients = clients
        self._run = new_run(1)
        identify(self._run.run_id)
        self._has_batched, self._tile = batched is not None, tile
        whole = tile if batched else 1
        settings = settings or Settings()
        heal = settings.actors != 0 if heal is None else heal
        keep = heal if isinstance(heal, Keep) else Keep() if heal else None
        self._pool = open_pool(settings, clients, whole, batched, app, run_config or {}, costs, keep)
        self._names = itertools.count(1)
        gc.collect()
        gc.freeze()  # thousands of messages a round would else make Python look through all of torch again
        self._pending: list[_Batch] = []
        self._early: dict[str, Message] = {}

    def __enter__(self) -> RayGrid:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the actors, and Ray if it was started here."""
        gc.unfreeze()
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
        """Messages may come from a generator: a shard begins while those of the next are being made."""
        names, shared = list[str](), dict[Any, Any]()
        self._pool.begin()
        plain: dict[_Group, list[Message]] = {}
        current, members, tile = _Group(-1, 0, True), list[Message](), -1
        for message in messages:
            name = str(next(self._names))
            name_message(message, name)
            names.append(name)
            client = node_of(message) - 1
            group = self._group(message, client)
            if not group.batched:
                plain.setdefault(group, []).append(message)
                continue
            # a batch is never cut inside a tile, where a neighbour might matter
            if members and (group != current or (len(members) >= CHUNK and client // self._tile != tile)):
                self._submit(current, members, shared)
                members = []
            members.append(message)
            current, tile = group, client // self._tile
        for group, those in [*plain.items(), *([(current, members)] if members else [])]:
            self._submit(group, those, shared)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self._collect(timeout=0.001)
        return [self._early.pop(name) for name in message_ids if name in self._early]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        names = self.push_messages(messages)
        self._collect(timeout)
        return [self._early.pop(name) for name in names if name in self._early]

    def save(self, keep: Callable[[Image], None], most: int = MOST) -> None:
        """Hand over the state of all clients of the batched form, in images of about `most` bytes; between rounds."""
        for _, image in images.images(self._pool, images.parts(self._pool, most)):
            keep(image)

    def load(self, given: Iterable[Image]) -> None:
        """Clients have the state in these images, made by any number of shards; before the first message.

        Raises: Refused("image") where they are not of this scenario.
        """
        images.load(self._pool, given)

    def kill(self, client: int) -> None:
        """The process of this client's shard dies at once. It heals if the grid heals, else its state is lost."""
        self._pool.kill(self._pool.home[client])

    def wipe(self, clients: Sequence[int]) -> None:
        """These clients of the batched form forget everything, as when a device is set up anew."""
        groups: dict[int, list[int]] = {}
        for client in clients:
            groups.setdefault(self._pool.home[client], []).append(client)
        for handle in [self._pool.submit(shard, "wipe", some) for shard, some in groups.items()]:
            self._pool.collect(handle, None)

    def _group(self, message: Message, client: int) -> _Group:
        if not 0 <= client < self.clients:
            raise ValueError(f"there is no node {client + 1}; nodes are 1 to {self.clients}")
        content = records_of(message)
        batched = self._has_batched and records.PROTOCOL in content
        model = records.version(content) if batched else 0
        return _Group(self._pool.home[client], model, batched)

    def _submit(self, group: _Group, members: list[Message], shared: dict[Any, Any]) -> None:
        if group.batched:
            clients = [node_of(message) - 1 for message in members]
            x, told = self._models(group, members, shared)
            blocks = [records.read_block(message) for message in members]
            repairs = _repairs(members)
            handle = self._pool.submit(group.shard, "answer", x, clients, blocks, told, repairs)
            self._pending.append((handle, members, True))
        else:
            self._pending += ordinary.submit(self._pool, group.shard, members, shared)

    def _models(
        self, group: _Group, members: list[Message], shared: dict[Any, Any]
    ) -> tuple[Any, list[Broadcast | None]]:
        """The model that members of one call carry, shared once, and what each says of its version.

        Members that are told the same have the same object, which travels once.
        """
        x, read, told = None, dict[int, Broadcast | None](), list[Broadcast | None]()
        versions = records.VERSION in records_of(members[0])  # all members of a group have one, or none
        for message in members if versions else members[:1]:
            content = records_of(message)
            record = content.get(records.VERSION)
            if id(record) not in read:
                read[id(record)] = records.read_broadcast(content)
                model = content.get(records.MODEL)
                if isinstance(model, ArrayRecord):
                    if group.model not in shared:
                        shared[group.model] = self._pool.share(records.unpack_model(model).numpy())
                    x = shared[group.model]
            told.append(read[id(record)])
        return x, told if versions else []

    def _collect(self, timeout: float | None) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        pending, self._pending = self._pending, []
        for handle, members, batched in pending:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                got = self._pool.collect(handle, left)
            except TimeoutError:
                self._pending.append((handle, members, batched))
                continue
            except Gone as lost:
                replies = [error_reply(message, NODE_UNAVAILABLE, str(lost)) for message in members]
            else:
                replies = _replies(members, got) if batched else ordinary.replies(got)
            for message, reply in zip(members, replies, strict=True):
                self._early[name_of(message)] = reply


def _repairs(members: Sequence[Message]) -> dict[int, Repair]:
    """By place, what members are sent that lacked something."""
    found = dict[int, Repair]()
    for place, message in enumerate(members):
        content = records_of(message)
        if records.REPAIR in content and (repair := records.read_repair(content)) is not None:
            found[place] = repair
    return found


def _replies(members: Sequence[Message], answers: Sequence[tuple[bytes, bytes] | Refused]) -> list[Message]:
    stamp = Stamp(Message(records.reply(b"", b""), reply_to=members[0]), records.PROTOCOL)
    return [
        error_reply(message, CLIENT_RAISED, str(answer)) if isinstance(answer, Refused)
        else stamp.reply(message, {records.BLOCK: answer[0], records.PAYLOAD: answer[1]})
        for message, answer in zip(members, answers, strict=True)
    ]  # fmt: skip
