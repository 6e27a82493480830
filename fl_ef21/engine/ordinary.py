"""Messages of an ordinary Flower app on their way to a shard and back, as plain tuples.

A strategy hands the same record to all of its clients. It crosses once, and every client gets a record of its
own around the same bytes: nothing a client does to a message reaches another's, or the driver's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict

if TYPE_CHECKING:
    from fl_ef21.engine.pool import Pool
from fl_ef21.flower_internals import make_message, make_record, make_records, message_parts, record_parts

AT_ONCE = 25  # messages of one call, so that the driver and the shards work at the same time
STORED = 1 << 16  # bytes from which an array travels outside of the pickle, and a record through the object store

Parts = tuple[Any, dict[str, Any]]  # kind and entries of a record, see `record_parts`
Packed = tuple[dict[str, Any], dict[str, "Parts | int"] | None, tuple[int, str | None] | None]
Call = tuple[Any, list[Message], bool]  # as the grid waits for it


class Known(NamedTuple):
    """A record already packed in this push, and where it lies in the store if it does."""

    record: Any  # kept, so that its id is nobody else's meanwhile
    parts: Parts
    stored: Any | None


def submit(pool: Pool, shard: int, members: list[Message], shared: dict[Any, Any]) -> list[Call]:
    """Send a shard its messages, a few in each call. `shared` lives as long as one push."""
    calls = []
    for start in range(0, len(members), AT_ONCE):
        some = members[start : start + AT_ONCE]
        stored: dict[int, tuple[int, Any]] = {}
        packed = [_instruction(message, pool, shared, stored) for message in some]
        handle = pool.submit(shard, "call", packed, *(one for _, one in stored.values()))
        calls.append((handle, some, False))
    return calls


def received(packed: Sequence[Packed], stored: Sequence[Parts]) -> Iterator[Message]:
    """The messages of a call, each with records of its own."""
    models = [_whole(parts) for parts in stored]
    for one in packed:
        yield _message(one, models)


def packed(message: Any) -> Packed:
    """A reply as plain tuples. Raises: TypeError where an app returned something else."""
    if not isinstance(message, Message):
        raise TypeError(f"the ClientApp returned {type(message).__name__}, not a Message")
    metadata, content, error = message_parts(message)
    return metadata, None if content is None else {name: _parts(one) for name, one in content.items()}, error


def replies(got: Sequence[Packed]) -> list[Message]:
    """The replies of a call, named as a SuperLink would name them: each differently."""
    for metadata, _, _ in got:
        metadata["_message_id"] = f"re-{metadata['_reply_to_message_id']}"
    return [_message(one, ()) for one in got]


def remembered(context: Context) -> dict[str, Parts]:
    """What a client's state is now; its arrays are not copied."""
    return {name: record_parts(record) for name, record in context.state.items()}


def restore(context: Context, before: dict[str, Parts]) -> None:
    """Undo what a client that raised did to its state, as Flower's simulation does."""
    context.state = make_records({name: make_record(parts) for name, parts in before.items()})


def _instruction(message: Message, pool: Pool, shared: dict[Any, Any], stored: dict[int, tuple[int, Any]]) -> Packed:
    metadata, content, error = message_parts(message)
    entries: dict[str, Parts | int] = {}
    for name, record in (content or {}).items():
        known = shared.get(("ordinary", id(record)))
        if known is None:
            parts = _parts(record)
            big = isinstance(record, ArrayRecord) and sum(len(one.data) for one in record.values()) >= STORED
            known = shared["ordinary", id(record)] = Known(record, parts, pool.share(parts) if big else None)
        if known.stored is None:
            entries[name] = known.parts
        else:
            entries[name] = stored.setdefault(id(record), (len(stored), known.stored))[0]
    return metadata, None if content is None else entries, error


def _message(packed: Packed, models: Sequence[Parts]) -> Message:
    metadata, entries, error = packed
    content: RecordDict | None = None
    if entries is not None:
        content = make_records({
            name: make_record(models[parts] if isinstance(parts, int) else _whole(parts))
            for name, parts in entries.items()
        })  # fmt: skip
    return make_message(metadata, content, error)


def _parts(record: Any) -> Parts:
    """The record's parts; long bytes as an array, which a pickle does not copy."""
    kind, entries = record_parts(record)
    if kind is ArrayRecord:
        for name, (dtype, shape, stype, data) in entries.items():
            if len(data) >= STORED:
                entries[name] = (dtype, shape, stype, np.frombuffer(data, np.uint8))
    return kind, entries


def _whole(parts: Parts) -> Parts:
    """The same with bytes only; nothing is copied that has not come from another process."""
    kind, entries = parts
    if kind is not ArrayRecord or not any(isinstance(one[3], np.ndarray) for one in entries.values()):
        return parts
    return kind, {name: (*one[:3], _bytes(one[3])) for name, one in entries.items()}


def _bytes(data: Any) -> bytes:
    if not isinstance(data, np.ndarray):
        return bytes(data)
    return data.base if isinstance(data.base, bytes) else data.tobytes()
