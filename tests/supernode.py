"""The inner half of a SuperNode: state, Runtime API over HTTP, and loop, with messages handed in by a test."""

from __future__ import annotations

import hashlib
import importlib
import io
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode import start_client_internal as loop
from flwr.supernode.nodestate import NodeStateFactory

from fl_ef21.flower_internals import identify, new_run

COMMAND = importlib.import_module("flwr.supernode.cli.flower_supernode")
NODE = 7


def bundle(source: str, name: str = "toy") -> Fab:
    """A Flower app bundle whose only module, `toy_app`, is this source; its ClientApp is called `app`."""
    project = (
        f'[project]\nname = "{name}"\nversion = "1.0.0"\n[tool.flwr.app]\npublisher = "tests"\n'
        '[tool.flwr.app.components]\nserverapp = "toy_app:app"\nclientapp = "toy_app:app"\n[tool.flwr.app.config]\n'
    )
    files = {"pyproject.toml": project, "toy_app.py": source}
    lines = [f"{path},{hashlib.sha256(text.encode()).hexdigest()},0" for path, text in files.items()]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in {**files, ".info/CONTENT": "\n".join(lines)}.items():
            archive.writestr(path, text)
    content = packed.getvalue()
    return Fab(hashlib.sha256(content).hexdigest(), content, {})


class SuperNode:
    """What `flower-supernode --isolation process` is on the inside, once it has found its SuperLink."""

    def __init__(self, port: int) -> None:
        self.port = port
        objects = ObjectStoreFactory()
        factory = NodeStateFactory(objectstore_factory=objects)
        self.state, self.objects = factory.state(), objects.store()
        self.state.set_node_id(NODE)
        config = SimpleNamespace(
            host="127.0.0.1", port=port, superexec_auth_secret=None, runtime_ssl_certfile=None, runtime_ssl_keyfile=None
        )
        self._server, self._thread = COMMAND._start_supernode_http_api(config, factory)  # as the command calls it

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def pull(self, fab: Fab, run: int, text: str = "") -> None:
        """One message of this run comes from the SuperLink."""
        identify(run, 1)
        message = Message(RecordDict({"told": ConfigRecord({"text": text})}), NODE, "train")
        message.metadata.__dict__.update(_run_id=run, _src_node_id=1, _message_id=message.object_id)
        contents = {name: one.deflate() for name, one in get_all_nested_objects(message).items()}
        known = new_run(run)
        known.fab_hash, known.fab_id, known.fab_version, known.series_id = fab.hash_str, "tests/toy", "1.0.0", run
        done = loop._pull_and_store_message(
            state=self.state, object_store=self.objects, node_config={},
            receive=lambda: (message, get_object_tree(message)), get_run=lambda _: known, get_fab=lambda *_: fab,
            pull_object=lambda _, name: contents[name], confirm_message_received=lambda *_: None, trusted_entities=None,
        )  # fmt: skip
        assert done == run

    def push(self) -> Message:
        """The reply that would go to the SuperLink, as soon as Flower's loop sees it."""
        sent: list[Message] = []
        contents: dict[str, bytes] = {}

        def send(message: Message, tree: Any, _: float) -> tuple[set[str], str]:
            sent.append(message)
            return set(_names(tree)), ""

        loop._push_messages(
            state=self.state, object_store=self.objects, send=send,
            push_object=lambda _run, _session, name, content: contents.__setitem__(name, content),
        )  # fmt: skip
        (reply,) = sent
        if reply.has_error():
            return reply
        full = inflate_object_from_contents(reply.metadata.message_id, contents)
        assert isinstance(full, Message)
        return full

    def ask(self, fab: Fab, run: int = 11, text: str = "") -> Message:
        self.pull(fab, run, text)
        return self.push()


def _names(tree: Any) -> Iterator[str]:
    yield tree.object_id
    for child in tree.children:
        yield from _names(child)


@contextmanager
def supernode(port: int) -> Iterator[SuperNode]:
    node = SuperNode(port)
    try:
        yield node
    finally:
        node.close()


def said(reply: Message) -> str:
    """The text in a toy app's reply."""
    return str(reply.content.config_records["told"]["text"])


def until(holds: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{seconds} seconds have passed"
        time.sleep(0.01)
