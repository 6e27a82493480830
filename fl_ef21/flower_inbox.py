"""Replies of a deployment, taken as they arrive as a whole.

A SuperNode announces a reply before it brings what is in it. Flower's Grid takes announced replies one after another
and waits for the rest of each: a second at least where a look falls between the two, and minutes where a device is
slow or dies on the way, in which no other reply is taken and no deadline kept. Here a look never waits: what is not
whole yet is looked at again the next time, beside all others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Error, Message, Metadata
from flwr.serverapp import Grid
from flwr.superlink.grid import HttpGrid

AT_ONCE = 8  # parts that are fetched side by side
UNAVAILABLE = 3  # flwr.common.constant.ErrorCode.MESSAGE_UNAVAILABLE


@dataclass
class Coming:
    """An announced reply, and its parts as far as they are there; `lost` says why it will never be whole.

    `since` is when it was announced, by the monotonic clock.
    """

    told: Any
    parts: dict[str, bytes | None]
    since: float = field(default_factory=time.monotonic)
    lost: str = field(default="")

    @property
    def whole(self) -> bool:
        return all(part is not None for part in self.parts.values())


class Inbox:
    """What has been announced on one Grid and is not whole yet, by the name of the message it answers."""

    def __init__(self, grid: HttpGrid) -> None:
        self._client: Callable[[], Any] = lambda: grid._runtime_client
        self._node, self._run = grid.node, lambda: grid.run.run_id
        self._coming: dict[str, Coming] = {}

    def take(self, names: Iterable[str]) -> list[Message]:
        """Replies to these messages that are whole by now; an error for one that will never be."""
        wanted = list(names)
        self._announced([name for name in wanted if name not in self._coming])
        mine = {name: self._coming[name] for name in wanted if name in self._coming}
        missing = [(one, part) for one in mine.values() for part, got in one.parts.items() if got is None]
        if len(missing) > 1:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self._fetch, *zip(*missing, strict=True)))
        elif missing:
            self._fetch(*missing[0])
        over = {name: one for name, one in mine.items() if one.whole or one.lost}
        self.forget(over)
        return [self._opened(one) for one in over.values()]

    def stuck(self, seconds: float) -> set[str]:
        """The messages whose replies were announced so long ago and are not whole yet."""
        before = time.monotonic() - seconds
        return {name for name, one in self._coming.items() if one.since <= before}

    def forget(self, names: Iterable[str]) -> None:
        """Nobody wants replies to these any more."""
        for name in list(names):
            self._coming.pop(name, None)

    def _announced(self, names: list[str]) -> None:
        from flwr.proto.runtime_pb2 import PullAppMessagesRequest
        from flwr.supercore.inflatable.inflatable_object import iterate_object_tree

        if not names:
            return
        asked = PullAppMessagesRequest(message_ids=names)
        told = self._client().PullMessages(asked)
        for message, tree in zip(told.messages_list, told.message_object_trees, strict=True):
            if name := message.metadata.reply_to_message_id:
                parts: dict[str, bytes | None] = dict.fromkeys(part.object_id for part in iterate_object_tree(tree))
                self._coming[name] = Coming(message.metadata, parts)

    def _fetch(self, one: Coming, part: str) -> None:
        from flwr.proto.message_pb2 import PullObjectRequest

        if one.lost:
            return
        asked = PullObjectRequest(node=self._node, run_id=self._run(), object_id=part)  # type: ignore[no-untyped-call]
        got = self._client().PullObject(asked)
        if got.object_available:
            one.parts[part] = got.object_content
        elif not got.object_found:
            one.lost = "the reply did not come as a whole: who sent it went away, or was too slow for Flower"

    def _opened(self, one: Coming) -> Message:
        from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest
        from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

        name = one.told.message_id
        if one.lost:
            return self._error(one)
        parts = {part: got for part, got in one.parts.items() if got is not None}
        self._client().ConfirmMessageReceived(
            ConfirmMessageReceivedRequest(node=self._node, run_id=self._run(), message_object_id=name)  # type: ignore[no-untyped-call]
        )
        message: Any = inflate_object_from_contents(name, parts)
        message.metadata.__dict__["_message_id"] = name
        return message  # type: ignore[no-any-return]

    def _error(self, one: Coming) -> Message:
        from flwr.app.message import make_message

        node = self._node.node_id
        about = Metadata(
            run_id=self._run(), message_id="", src_node_id=node, dst_node_id=node, group_id="", ttl=0,  # type: ignore[no-untyped-call]
            reply_to_message_id=one.told.reply_to_message_id, created_at=one.told.created_at, message_type="system",
        )  # fmt: skip
        return make_message(metadata=about, error=Error(UNAVAILABLE, one.lost))


def inbox_of(grid: Grid) -> Inbox | None:
    """That of a deployment's own Grid; None of any other, also where Flower has other internals than these."""
    if not isinstance(grid, HttpGrid) or type(grid).pull_messages is not HttpGrid.pull_messages:
        return None
    if not (hasattr(HttpGrid, "_runtime_client") and hasattr(grid, "node")):
        return None
    inbox: Inbox = vars(grid).setdefault("inbox of fl_ef21", Inbox(grid))
    return inbox
