"""What came back from clients through Flower."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from flwr.app import Message

from fl_ef21 import records
from fl_ef21.errors import Refused
from fl_ef21.flower_internals import NODE_UNAVAILABLE

CLIENT_REASONS = ("block", "client", "source", "plan", "state", "storage", "model", "repair", "gradient", "value",
                  "stale", "signature")  # fmt: skip
FLOWERS_PREFIX = "\nException ClientAppException occurred. Message: "  # before a client's own words


def read(message: Message) -> tuple[bytes, bytes]:
    """A reply's block and payload. Raises: Refused where it carries none, or an error."""
    if message.has_error():
        told = said(message.error.reason or "")
        reason, _, detail = told.partition(": ")
        raise Refused(reason if reason in CLIENT_REASONS else "client raised", detail or told)
    return records.read_answer(message)


def said(reason: str) -> str:
    """What a client itself raised, out of what Flower's runtimes wrap around it."""
    inner = re.fullmatch(r"<class '.*?'>:<'(.*)'>", reason, re.DOTALL)
    return (inner[1] if inner else reason).rpartition(FLOWERS_PREFIX)[2].strip()


def failed(replies: Iterable[Message], nodes: Mapping[int, int]) -> dict[int, int]:
    """Clients whose app answered with an error, and the length of its reason; nodes are by client.

    That a node is gone is said by the SuperLink: nothing came from there.
    """
    errors = [message for message in replies if message.has_error() and message.error.code != NODE_UNAVAILABLE]
    clients = {node: client for client, node in nodes.items()} if errors else {}
    said_by = ((clients.get(message.metadata.src_node_id), message.error.reason or "") for message in errors)
    return {client: len(reason) for client, reason in said_by if client is not None}
