"""Values <-> Flower records: the only spelling of record keys.

An instruction is {"x": the model, "fl_ef21": {"block"}}; a reply is {"fl_ef21": {"block", "payload"}}. Where messages
are signed, "fl_ef21" has "signature" too. Where the model is compressed on its way down there is also "w": {"point"},
or "w": {"point", "increments"} instead of "x". To a client that lacks something there is also "r":
{"parts"}, a `Repair`.
One flat array carries the model and one bytes entry the payload: per-layer arrays would pay up to 69 %
in framing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from torch import Tensor

from fl_ef21.broadcast import Broadcast
from fl_ef21.commit import HASH, Point
from fl_ef21.errors import Refused
from fl_ef21.flower_stamp import values_of
from fl_ef21.repair import Repair

MODEL, PROTOCOL, BLOCK, PAYLOAD, SIGNATURE = "x", "fl_ef21", "block", "payload", "signature"
VERSION, POINT, INCREMENTS = "w", "point", "increments"
REPAIR, PARTS = "r", "parts"


def pack_model(x: Tensor) -> ArrayRecord:
    """The model x (d,) as one array."""
    return ArrayRecord({MODEL: Array(x.detach().cpu().numpy())})


def unpack_model(record: ArrayRecord) -> Tensor:
    """x (d,). Raises: Refused("model") where it is not one flat float array."""
    if list(record) != [MODEL]:
        raise Refused("model", f"expected one array {MODEL!r}, got {list(record)}")
    x = record[MODEL].numpy()
    if x.ndim != 1 or x.dtype not in (np.float32, np.float64):
        raise Refused("model", f"expected a flat float vector, got {x.dtype} of shape {x.shape}")
    return torch.from_numpy(x.copy())


def blank_model(nbytes: int) -> ArrayRecord:
    """A record as long as that of a model of so many serialised bytes, for measuring."""
    head = len(Array(np.zeros(0, np.float32)).data)
    shape = (max(0, nbytes - head) // 4,)
    return ArrayRecord({MODEL: Array("float32", shape, "numpy.ndarray", bytes(nbytes))})


def model_bytes(record: ArrayRecord) -> int:
    """Serialised bytes of the model."""
    return sum(len(array.data) for array in record.values())


def pack_broadcast(sent: Broadcast) -> ConfigRecord:
    """Which version of the model, and what leads to it."""
    record = ConfigRecord({POINT: sent.point.version.to_bytes(8, "little") + sent.point.chain})
    if sent.increments:  # of an empty list Flower forgets what it is a list of
        record[INCREMENTS] = list(sent.increments)
    return record


def read_broadcast(content: Mapping[str, Any]) -> Broadcast | None:
    """What the records say of the model's version; None where they say nothing. Raises: Refused("model")."""
    record = content.get(VERSION)
    if record is None:
        return None
    point, sent = (record.get(key) for key in (POINT, INCREMENTS)) if isinstance(record, ConfigRecord) else (None, None)
    if not isinstance(point, bytes) or len(point) != 8 + HASH:
        raise Refused("model", f"the message carries no {VERSION}.{POINT}")
    increments = tuple(one for one in sent if isinstance(one, bytes)) if isinstance(sent, list) else ()
    whole = MODEL in content
    return Broadcast(Point(int.from_bytes(point[:8], "little"), point[8:]), None if whole else increments)


def pack_repair(repair: Repair) -> ConfigRecord:
    """What brings one client to what the server holds of it."""
    return ConfigRecord({PARTS: repair.pack()})


def read_repair(content: Mapping[str, Any]) -> Repair | None:
    """What the records bring to a client that lacked something; None where they bring nothing. Raises: Refused."""
    record = content.get(REPAIR)
    if record is None:
        return None
    parts = record.get(PARTS) if isinstance(record, ConfigRecord) else None
    sound = isinstance(parts, list) and all(isinstance(one, bytes) for one in parts)
    repair = Repair.unpack(parts) if sound else None  # type: ignore[arg-type]
    if repair is None:
        raise Refused("repair", f"the message carries no {REPAIR}.{PARTS}")
    return repair


def version(content: Mapping[str, Any]) -> Any:
    """A key that messages with one and the same model have in common."""
    record = content.get(VERSION)
    return record.get(POINT) if isinstance(record, ConfigRecord) else id(content.get(MODEL))


def instruction(model: ArrayRecord | None, block: bytes, version: ConfigRecord | None = None) -> RecordDict:
    """What the server sends one client: a packed block; `model` and `version` are the same objects for many."""
    records = RecordDict({PROTOCOL: ConfigRecord({BLOCK: block})})
    if model is not None:
        records[MODEL] = model
    if version is not None:
        records[VERSION] = version
    return records


def reply(block: bytes, payload: bytes) -> RecordDict:
    """What a client answers."""
    return RecordDict({PROTOCOL: ConfigRecord({BLOCK: block, PAYLOAD: payload})})


def read_block(message: Message) -> bytes:
    """The packed block. Raises: Refused("block") where there is none."""
    return _entry(message, BLOCK)


def read_answer(message: Message) -> tuple[bytes, bytes]:
    """The packed block and the payload. Raises: Refused("block") where there is none."""
    entries = values_of(message, PROTOCOL) or {}
    block, payload = entries.get(BLOCK), entries.get(PAYLOAD)
    if isinstance(block, bytes) and isinstance(payload, bytes):
        return block, payload
    return _entry(message, BLOCK), _entry(message, PAYLOAD)  # which says what is missing


def _entry(message: Message, key: str) -> bytes:
    value = (values_of(message, PROTOCOL) or {}).get(key)
    if not isinstance(value, bytes):
        raise Refused("block", f"the message carries no {PROTOCOL}.{key}")
    return value
