"""A grid over the real ClientApp, whose messages go through Flower's serialisation and may be touched on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from clients.flower import client_app
from fl_ef21 import signing
from fl_ef21.flower_internals import CLIENT_RAISED, error_reply, make_message
from fl_ef21.sealing import ClientKeys, ServerKeys
from fl_ef21.store import Files
from scenarios.runner import flower_loader
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from tests.faulty_grid import FaultyGrid
from tests.strategies.kept import Run

Touch = Callable[[Message], Message | None]


def key_folder(folder: Path, clients: int) -> Path:
    """The server's folder of keys, and every client's own beside it as client-NUMBER.key."""
    folder.mkdir()
    signing.make(folder / "server.key", folder / "server.pub")
    for i in range(clients):
        signing.make(folder / f"client-{i}.key", folder / f"client-{i}.pub")
    return folder


def travelled(message: Message) -> Message:
    """As it is where it arrives."""
    if not message.has_content():
        return message
    parts = dict(message.metadata.__dict__)
    sent = {name: one.deflate() for name, one in get_all_nested_objects(message.content).items()}
    content = inflate_object_from_contents(message.content.object_id, sent, keep_object_contents=True)
    assert isinstance(content, RecordDict)
    return make_message(parts, content, None)


@dataclass
class SignedGrid(FaultyGrid):
    """Node i + 1 is client i with its keys.

    Attributes:
      app: what clients run.
      config: each client's node-config besides its number.
      down, up: what somebody on the way does to a message; one that returns None keeps it to himself.
      seen: every message as it was sent, instructions and replies by turns.
    """

    clients: int
    app: ClientApp
    config: dict[int, dict[str, Any]]
    down: Touch = lambda message: message
    up: Touch = lambda message: message
    seen: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.clients, lambda: None)  # type: ignore[arg-type, return-value]

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        return [reply for reply in super().send_and_receive(messages, timeout=timeout) if reply is not None]

    def _answer(self, message: Message, trouble: str = "") -> Message:
        asked = self.down(travelled(message))
        if asked is None:
            return None  # type: ignore[return-value]
        self.seen.append(asked)
        reply = travelled(self.at(self._client(asked), asked))
        self.seen.append(reply)
        return self.up(reply)  # type: ignore[return-value]

    def at(self, client: int, message: Message) -> Message:
        """What this client's device says to a message."""
        config = {"partition-id": client, **self.config[client]}
        context = Context(1, client + 1, config, RecordDict(), {})
        try:
            return self.app(message, context)
        except Exception as error:
            return error_reply(message, CLIENT_RAISED, str(error))


def keys_of(context: Context) -> ClientKeys:
    told = context.node_config
    return ClientKeys.load(str(told.get("message-key", "")), str(told.get("server-key", "")))


class SignedRun(Run):
    """A server with keys and its clients with theirs, each in files.

    Attributes: keys, the folder of `key_folder`; None where nothing is signed.
    """

    def __init__(self, setup: Setup, folder: Path, signed: bool = True) -> None:
        self.setup, self.n = setup, setup.problem.clients
        self.keys = key_folder(folder / "keys", self.n) if signed else None
        self.store = Files(folder / "state")
        app = client_app(flower_loader(setup, folder / "state"), keys_of)
        self.grid: SignedGrid = SignedGrid(self.n, app, {i: self.node(i) for i in range(self.n)})
        self.strategy = self.server()

    def node(self, client: int) -> dict[str, Any]:
        if self.keys is None:
            return {}
        names = {"message-key": f"client-{client}.key", "server-key": "server.pub"}
        return {name: str(self.keys / file) for name, file in names.items()}

    def server(self, **options: Any) -> CompressedStrategy:
        strategy = super().server(**options)
        if self.keys is not None:
            strategy.nodes.authenticate(ServerKeys.load(self.keys, self.n))
        return strategy
