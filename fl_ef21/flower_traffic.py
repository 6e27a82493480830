"""What one of our messages costs on the wire between a SuperNode and a SuperLink: Flower's Fleet API over HTTP/1.1.

A message travels as a tree of objects. A SuperNode asks for a message (pull-messages), fetches every object of it in
an exchange of its own (pull-object), confirms, and later offers its reply (push-messages) and brings every object of
that (push-object). Bytes are counted as they travel, heads of requests and responses included: *up* from SuperNode to
SuperLink, *down* the other way, so both halves of fetching an instruction have bytes in both directions.

All sizes are those of Flower's own serialisation and of its own HTTP client; only a response's head is written down
here, since the server makes it. Not in it: TCP and IP, TLS, a SuperNode's registration, the app's bundle and what is
asked for too soon (`poll`, `early`). docs/bytes.md has the measurement against a real SuperLink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from numpy.typing import NDArray

from fl_ef21 import records, signing
from fl_ef21.broadcast import Broadcast
from fl_ef21.commit import HASH, Block, Point
from fl_ef21.flower_internals import make_message

Sizes = NDArray[np.int64]
ID = 1 << 62  # ids of runs, nodes and tasks are random; nine bytes of varint, as nearly all of them take
HOST = "127.0.0.1:8000"
SIGNATURE = 139  # of a request, in base64: the mean of 136 (a quarter of them) and 140
WORKERS = 2  # objects on their way at a time, of a machine with two cores or more
_NAME = "0" * 64  # a hexadecimal SHA-256
_RESPONSE = (
    "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-length: {length}\r\n"
    "content-type: application/protobuf\r\n\r\n"
)


@dataclass(frozen=True)
class Cost:
    """Bytes on the wire: `up` towards the SuperLink, `down` towards the SuperNode; numbers, or one for each client."""

    up: Any
    down: Any

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.up + other.up, self.down + other.down)


@lru_cache(maxsize=1024)
def instruction(
    model: int | None, group: str = "1", block: int = Block.size, increments: tuple[int, ...] | None = None,
    signed: bool = False,
) -> Cost:  # fmt: skip
    """An instruction and all that fetches it.

    `model` is the length of the model's array as Flower serialises it, None without one; `increments` those of what is
    sent with the model's version, None without a version.
    """
    content = _sealed(records.instruction(None, bytes(block)), signed)
    if model is not None:
        content[records.MODEL] = records.blank_model(model)
    if increments is not None:
        told = Broadcast(Point(0, bytes(HASH)), tuple(map(bytes, increments)) or None)
        content[records.VERSION] = records.pack_broadcast(told)
    asked = "train" if model is not None or increments is not None else "query"
    return pulled(_message(content, asked, group, reply=False))


def replies(payloads: Sizes | Sequence[int], group: str = "1", signed: bool = False) -> Cost:
    """Replies with payloads of these lengths (m,), each as `reply` says."""
    lengths = np.asarray(payloads, dtype=np.int64)
    base = reply(1, group, signed=signed)
    more = _grown(lengths, _object_up, signed) - _grown(1, _object_up, signed)
    return Cost(base.up + more, base.down + np.zeros_like(lengths))


@lru_cache(maxsize=1024)
def reply(payload: int, group: str = "1", block: int = Block.size, signed: bool = False) -> Cost:
    """A reply and all that brings it."""
    content = _sealed(records.reply(bytes(block), bytes(payload)), signed)
    return pushed(_message(content, "train", group, reply=True))


@lru_cache(maxsize=1024)
def failure(reason: int, group: str = "1") -> Cost:
    """A reply that says, in so many bytes, why there is none."""
    return pushed(_message(None, "train", group, reply=True, error=(2, "x" * reason)))


@lru_cache(maxsize=1)
def poll() -> Cost:
    """A SuperNode asks and there is nothing: every 3 s as long as it has nothing to do."""
    from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse

    return _exchange("/v1/fleet/pull-messages", PullMessagesRequest(node=_node()), PullMessagesResponse())


@lru_cache(maxsize=1)
def early() -> Cost:
    """A SuperNode asks for an object that the ServerApp has not brought yet, and will ask again."""
    from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse

    request = PullObjectRequest(node=_node(), run_id=ID, object_id=_NAME)
    return _exchange("/v1/fleet/pull-object", request, PullObjectResponse(object_found=True))


@lru_cache(maxsize=1)
def heartbeat() -> Cost:
    """A SuperNode says that it lives: every 30 s times 0.7 to 0.9."""
    from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse

    request = SendNodeHeartbeatRequest(node=_node(), heartbeat_interval=30)
    return _exchange("/v1/fleet/send-node-heartbeat", request, SendNodeHeartbeatResponse(success=True))


@lru_cache(maxsize=1)
def trips() -> int:
    """Exchanges that follow upon one another, from asking for an instruction with a model to the end of its reply.

    Objects travel two at a time, as Flower's SuperNode fetches and brings them.
    """
    content = records.instruction(records.blank_model(0), bytes(Block.size))
    asked = _parts(_message(content, "train", "1", reply=False))[2]
    answer = _parts(_message(records.reply(bytes(Block.size), b""), "train", "1", reply=True))[2]
    return 1 + ceil(len(asked) / WORKERS) + 1 + 1 + ceil(len(answer) / WORKERS)


def pulled(message: Message) -> Cost:
    """A message for a SuperNode: asked for, fetched object by object, confirmed."""
    from flwr.proto import fleet_pb2, message_pb2

    head, tree, objects = _parts(message)
    cost = _exchange(
        "/v1/fleet/pull-messages", fleet_pb2.PullMessagesRequest(node=_node()),
        fleet_pb2.PullMessagesResponse(messages_list=[head], message_object_trees=[tree]),
    )  # fmt: skip
    for content in objects:
        request = message_pb2.PullObjectRequest(node=_node(), run_id=ID, object_id=_NAME)
        found = message_pb2.PullObjectResponse(object_found=True, object_available=True, object_content=content)
        cost += _exchange("/v1/fleet/pull-object", request, found)
    confirm = message_pb2.ConfirmMessageReceivedRequest(node=_node(), run_id=ID, message_object_id=_NAME)
    done = message_pb2.ConfirmMessageReceivedResponse()
    return cost + _exchange("/v1/fleet/confirm-message-received", confirm, done)


def pushed(message: Message) -> Cost:
    """A message from a SuperNode: offered, then brought object by object."""
    from flwr.proto import fleet_pb2, message_pb2

    head, tree, objects = _parts(message)
    offer = fleet_pb2.PushMessagesRequest(
        node=_node(), messages_list=[head], message_object_trees=[tree], clientapp_runtime_list=[1.0]
    )
    wanted = fleet_pb2.PushMessagesResponse(
        reconnect=fleet_pb2.Reconnect(reconnect=5), results={_NAME: 0}, objects_to_push=[_NAME] * len(objects),
        session_id=_SESSION,
    )  # fmt: skip
    cost = _exchange("/v1/fleet/push-messages", offer, wanted)
    for content in objects:
        request = message_pb2.PushObjectRequest(
            node=_node(), run_id=ID, object_id=_NAME, object_content=content, session_id=_SESSION
        )
        cost += _exchange("/v1/fleet/push-object", request, message_pb2.PushObjectResponse(stored=True))
    return cost


_SESSION = "0" * 32


def _parts(message: Message) -> tuple[Any, Any, list[bytes]]:
    """Its head, its tree and the contents of its objects, as Flower serialises them."""
    from flwr.app.message import remove_content_from_message
    from flwr.common.serde import message_to_proto
    from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree

    bare = remove_content_from_message(message) if message.has_content() else message
    objects = get_all_nested_objects(message).values()
    return message_to_proto(bare), get_object_tree(message), [one.deflate() for one in objects]


def _sealed(content: RecordDict, signed: bool) -> RecordDict:
    if signed:
        content.config_records[records.PROTOCOL][records.SIGNATURE] = bytes(signing.SIZE)
    return content


def _message(
    content: RecordDict | None, kind: str, group: str, reply: bool, error: tuple[int, str | None] | None = None
) -> Message:
    told = {
        "_run_id": ID, "_message_id": _NAME, "_src_node_id": ID if reply else 1, "_dst_node_id": 1 if reply else ID,
        "_reply_to_message_id": _NAME if reply else "", "_group_id": group, "_created_at": 1.5e9, "_ttl": 43200.0,
        "_message_type": kind, "_src_task_id": ID, "_dst_task_id": ID,
    }  # fmt: skip
    return make_message(told, content, error)


def _node() -> Any:
    from flwr.proto.node_pb2 import Node

    return Node(node_id=ID)


def _exchange(path: str, request: Any, response: Any) -> Cost:
    up, down = request.ByteSize(), response.ByteSize()
    return Cost(_request_head() + len(path) + len(str(up)) + up, len(_RESPONSE.format(length=down)) + down)


@lru_cache(maxsize=1)
def _request_head() -> int:
    """Bytes before a request's body without its path and the digits of its length, as a SuperNode's client has them."""
    import httpx
    from flwr.supercore.constant import FLEET_HTTP_SIGNATURE_HEADER
    from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
    from flwr.supercore.primitives.asymmetric import generate_key_pairs
    from flwr.supercore.protobuf.client import ProtobufClient, ProtobufRequestContext
    from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

    private, public = generate_key_pairs()
    signs = NodeAuthHttpInterceptor(private, public)
    seen: list[int] = []

    def sent(context: ProtobufRequestContext) -> httpx.Response:
        headers = context.request.headers
        lines = [f"{name.decode()}: {value.decode()}\r\n" for name, value in headers.raw]
        first = "POST  HTTP/1.1\r\n"
        varies = len(headers["content-length"]) + len(headers[FLEET_HTTP_SIGNATURE_HEADER])
        seen.append(len(first) + sum(map(len, lines)) + 2 - varies + SIGNATURE)
        return httpx.Response(200, request=context.request)

    versions = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    client = ProtobufClient(f"http://{HOST}", interceptors=[versions, signs])
    client._send = lambda context, **_: versions.intercept(  # type: ignore[method-assign]
        context, lambda inner: signs.intercept(inner, sent)
    )
    from flwr.proto.fleet_pb2 import PullMessagesRequest, PullMessagesResponse

    client._unary_unary(path="/", rpc_method="", request=PullMessagesRequest(node=_node()),
                        response_type=PullMessagesResponse)  # fmt: skip
    client.close()
    return seen[0]


# How a payload's length shows: the sizes of what is wrapped around it, layer by layer. Constant parts cancel.


def _grown(payload: Any, last: Any, signed: bool) -> Any:
    length = np.asarray(payload, dtype=np.int64)
    value = _field(length)
    entry = _field(value) + 2 + len(records.PAYLOAD)
    body = _field(entry) + _other_entries(signed)
    content = body + _digits(body) + len("ConfigRecord") + 3
    return last(_field(content))


def _object_up(content: Any) -> Any:
    from flwr.proto.message_pb2 import PushObjectRequest

    rest = PushObjectRequest(node=_node(), run_id=ID, object_id=_NAME, session_id=_SESSION).ByteSize()
    return content + rest + _digits(content + rest)


@lru_cache(maxsize=2)
def _other_entries(signed: bool) -> int:
    """Bytes of all items but the payload's in the serialised ConfigRecord."""
    content = _sealed(records.instruction(None, bytes(Block.size)), signed)
    deflated = content.config_records[records.PROTOCOL].deflate()
    return len(deflated.split(b"\0", 1)[1])


def _field(size: Any) -> Any:
    """A protobuf field of so many bytes: a tag, the length as a varint, the bytes. An empty one is left out."""
    return size + 1 + _varint(size)


def _varint(number: Any) -> Any:
    return 1 + sum((number >= 1 << bits).astype(np.int64) for bits in (7, 14, 21, 28, 35))


def _digits(number: Any) -> Any:
    return 1 + sum((number >= 10**power).astype(np.int64) for power in range(1, 12))
