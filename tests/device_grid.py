"""Devices in this process: each node answers by a ClientApp with a node-config of its own, as behind a SuperLink."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fl_ef21.flower_internals import CLIENT_RAISED, error_reply, identify
from fl_ef21.flower_stamp import name_message


class DeviceGrid:
    """Node i + 1 has the i-th node-config; a node in `silent` never answers.

    Attributes:
      raised: what clients raised so far.
    """

    def __init__(self, app: ClientApp, nodes: Sequence[Mapping[str, Any]], run_config: Mapping[str, Any]) -> None:
        self.app, self.silent, self.raised = app, set[int](), list[Exception]()
        self.contexts = [Context(1, i + 1, dict(node), RecordDict(), dict(run_config)) for i, node in enumerate(nodes)]
        self._replies: dict[str, Message] = {}
        self._names = 0
        identify(1)

    def get_node_ids(self) -> list[int]:
        return [context.node_id for context in self.contexts]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        names = []
        for message in list(messages):
            self._names += 1
            name_message(message, str(self._names))
            names.append(str(self._names))
            if message.metadata.dst_node_id not in self.silent:
                self._replies[names[-1]] = self._answer(message)
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(name) for name in list(message_ids) if name in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message:
        context = self.contexts[message.metadata.dst_node_id - 1]
        try:
            return self.app(message, context)
        except Exception as error:
            self.raised.append(error)
            return error_reply(message, CLIENT_RAISED, str(error))
