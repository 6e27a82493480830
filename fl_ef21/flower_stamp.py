"""Many Flower messages that are alike: checked once, and made when somebody looks.

Flower's constructors take 25 us for an instruction and its reply, most of it to check arguments and to build the
dictionaries of four objects. A round of our protocol has thousands of messages of which all but a node and two
bytes entries is known, and which only `fl_ef21.engine` and `strategies` read.
"""

from __future__ import annotations

from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Error, Message, Metadata, RecordDict


class Stamp:
    """Makes messages that differ from a pattern in their node and in the values of one config record.

    The pattern is made by Flower's own constructors. All other records are the pattern's own.
    """

    def __init__(self, pattern: Message, key: str) -> None:
        """`key` names the config record; values of later messages must have the types of the pattern's."""
        self._message, self.key = pattern, key
        self._content, self._record = pattern.content, pattern.content[key]
        self.entries = entries(pattern.content)

    def to(self, node: int, values: dict[str, Any]) -> Message:
        """An instruction like the pattern, to another node."""
        return Stamped(self, node, None, values)

    def reply(self, asked: Message, values: dict[str, Any]) -> Message:
        """A reply with the pattern's records to any instruction; it lives as long as what it answers."""
        return Stamped(self, 0, asked, values)

    def instruction(self, node: int) -> Metadata:
        """Of an instruction to this node."""
        return _twin(self._message.metadata, {"_dst_node_id": node})  # type: ignore[no-any-return]

    def answer(self, asked: Message) -> Metadata:
        """Of a reply to this instruction."""
        told, created = asked.metadata.__dict__, self._message.metadata.created_at
        about = {
            "_message_id": "", "_reply_to_message_id": told["_message_id"],
            "_src_node_id": told["_dst_node_id"], "_dst_node_id": told["_src_node_id"],
            "_src_task_id": told["_dst_task_id"], "_dst_task_id": told["_src_task_id"],
            "_created_at": created, "_ttl": told["_created_at"] + told["_ttl"] - created,
        }  # fmt: skip
        return _twin(asked.metadata, about)  # type: ignore[no-any-return]

    def content(self, values: dict[str, Any]) -> RecordDict:
        """The pattern's records, with these values."""
        record = _twin(self._record, {"_data": values})
        return _twin(self._content, {"_data": {**self.entries, self.key: record}})  # type: ignore[no-any-return]


class Stamped(Message):
    """A Message whose metadata and records come into being when they are first looked at.

    Attributes:
      name: the message id, "" until it is given one.
    """

    __slots__ = ("asked", "name", "node", "stamp", "values")

    def __init__(self, stamp: Stamp, node: int, asked: Message | None, values: dict[str, Any]) -> None:
        self.stamp: Stamp | None = stamp
        self.node, self.asked, self.values, self.name = node, asked, values, ""

    def _made(self) -> Stamped:
        if (stamp := self.stamp) is not None:
            metadata = stamp.instruction(self.node) if self.asked is None else stamp.answer(self.asked)
            metadata.__dict__["_message_id"] = self.name
            self.__dict__.update(_metadata=metadata, _content=stamp.content(self.values), _error=None)
            self.stamp = self.asked = None
        return self

    @property
    def metadata(self) -> Metadata:
        self._made()
        return super().metadata

    @property
    def content(self) -> RecordDict:
        self._made()
        return super().content

    @content.setter
    def content(self, value: RecordDict) -> None:
        Message.content.__set__(self._made(), value)  # type: ignore[attr-defined]

    @property
    def error(self) -> Error:
        self._made()
        return super().error

    @error.setter
    def error(self, value: Error) -> None:
        Message.error.__set__(self._made(), value)  # type: ignore[attr-defined]

    def has_content(self) -> bool:
        return self.stamp is not None or super().has_content()

    def has_error(self) -> bool:
        return self.stamp is None and super().has_error()

    def __repr__(self) -> str:
        self._made()
        return super().__repr__()

    def deflate(self) -> bytes:
        return _plain(self._made().__dict__).deflate()

    def __reduce__(self) -> Any:
        """Elsewhere an ordinary message."""
        return _plain, (dict(self._made().__dict__),)


def _plain(parts: dict[str, Any]) -> Message:
    message = object.__new__(Message)
    message.__dict__.update(parts)
    return message


def entries(record: RecordDict | ConfigRecord | ArrayRecord) -> dict[str, Any]:
    """What is in it, as the plain dictionary that it wraps: looking there is ten times faster."""
    found: dict[str, Any] = record.__dict__["_data"]
    return found


def records_of(message: Message) -> dict[str, Any]:
    """Its records by name. Those of a stamped message may be the pattern's, `values_of` has its own."""
    if isinstance(message, Stamped) and message.stamp is not None:
        return message.stamp.entries
    return entries(message.content)


def values_of(message: Message, key: str) -> dict[str, Any] | None:
    """The values of its config record of this name; None where it has none."""
    if isinstance(message, Stamped) and message.stamp is not None and message.stamp.key == key:
        return message.values
    record = entries(message.content).get(key)
    return entries(record) if isinstance(record, ConfigRecord) else None


def node_of(message: Message) -> int:
    """The node an instruction is for."""
    if isinstance(message, Stamped) and message.stamp is not None and message.asked is None:
        return message.node
    return message.metadata.dst_node_id


def name_message(message: Message, name: str) -> None:
    """Give a message the id its reply will refer to, as a SuperLink does."""
    if isinstance(message, Stamped) and message.stamp is not None:
        message.name = name
    else:
        message.metadata.__dict__["_message_id"] = name


def name_of(message: Message) -> str:
    """Its message id."""
    if isinstance(message, Stamped) and message.stamp is not None:
        return message.name
    return message.metadata.message_id


def _twin(one: Any, changed: dict[str, Any]) -> Any:
    other = object.__new__(type(one))
    told = other.__dict__
    told.update(one.__dict__)
    told.update(changed)
    return other
