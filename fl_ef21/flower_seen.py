"""Flower's SuperNode in this process, watched: every exchange with the SuperLink, and what the ClientApp took.

Kept to the two names of Flower that are not public: `ProtobufClient._send`, through which all its HTTP goes, and
`flower_supernode`, the program. Where a version has other internals the node runs unwatched, and says so.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

log = logging.getLogger("fl_ef21")
RESPONSE = len("HTTP/1.1 200 OK\r\n\r\n")


class Seen(Protocol):
    """Is told what a node does, from any thread; must not raise."""

    def exchange(self, path: str, up: int, down: int, seconds: float) -> None:
        """An exchange with the SuperLink has just ended: bytes of request and response, heads included."""
        ...

    def task(self, kind: str, seconds: float) -> None:
        """The ClientApp has answered a message of this type."""
        ...


def run(options: Sequence[str], seen: Seen | None) -> None:
    """Be a SuperNode with these options of `flower-supernode`, until it is ended."""
    from flwr.supernode.cli.flower_supernode import flower_supernode

    before, sys.argv = sys.argv, ["flower-supernode", *options]
    try:
        with watched(seen):
            flower_supernode()
    finally:
        sys.argv = before


@contextmanager
def watched(seen: Seen | None) -> Iterator[None]:
    """While this goes on, exchanges of this process over the Fleet API are told to `seen`."""
    from flwr.supercore.protobuf.client import ProtobufClient

    plain = getattr(ProtobufClient, "_send", None)
    if seen is None or plain is None:
        if seen is not None:
            log.warning("this version of Flower sends by other means: nothing can be measured")
        yield
        return

    def send(self: Any, context: Any, **rest: Any) -> Any:
        began = time.monotonic()
        response = plain(self, context, **rest)
        path = context.request.url.path
        if "/fleet/" in path and not rest.get("stream"):
            _tell(seen, path, context, response, time.monotonic() - began)
        return response

    ProtobufClient._send = send  # type: ignore[method-assign]
    try:
        yield
    finally:
        ProtobufClient._send = plain  # type: ignore[method-assign]


def _tell(seen: Seen, path: str, context: Any, response: Any, seconds: float) -> None:
    request = context.request
    up = len("POST  HTTP/1.1\r\n") + len(path) + 2 + _head(request.headers) + len(request.content)
    seen.exchange(path, up, RESPONSE + _head(response.headers) + len(response.content), seconds)
    if path.endswith("/push-messages"):  # what the ClientApp took goes with the reply
        for message, took in zip(context.message.messages_list, context.message.clientapp_runtime_list, strict=False):
            seen.task(message.metadata.message_type, took)


def _head(headers: Any) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.raw)
