"""A stamped message is one that Flower's own constructors would have made."""

import pickle

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict

from fl_ef21 import records
from fl_ef21.flower_internals import identify
from fl_ef21.flower_stamp import Stamp, name_message, name_of, node_of, records_of, values_of

MODEL = ArrayRecord({"x": Array(np.arange(3.0))})


def instruction(node: int, block: bytes) -> Message:
    identify(5)
    return Message(records.instruction(MODEL, block), node, "train", group_id="4")


def same(one: Message, other: Message) -> bool:
    """In all but the moment they were made."""
    told = [{**message.metadata.__dict__, "_created_at": 0, "_ttl": 0} for message in (one, other)]
    return told[0] == told[1] and one.content == other.content


def test_an_instruction_to_another_node() -> None:
    stamped = Stamp(instruction(1, b"a"), records.PROTOCOL).to(9, {records.BLOCK: b"b"})
    assert same(stamped, instruction(9, b"b"))
    assert stamped.content[records.MODEL] is MODEL and stamped.metadata.ttl == instruction(9, b"b").metadata.ttl


def test_a_reply_to_another_instruction() -> None:
    asked = [instruction(node, b"?") for node in (3, 8)]
    for message in asked:
        name_message(message, f"m{message.metadata.dst_node_id}")
    stamp = Stamp(Message(records.reply(b"", b""), reply_to=asked[0]), records.PROTOCOL)
    stamped = stamp.reply(asked[1], {records.BLOCK: b"b", records.PAYLOAD: b"p"})
    made = Message(records.reply(b"b", b"p"), reply_to=asked[1])
    assert same(stamped, made) and records.read_answer(stamped) == (b"b", b"p")
    assert stamped.metadata.reply_to_message_id == "m8" and stamped.metadata.src_node_id == 8
    assert abs(stamped.metadata.ttl - made.metadata.ttl) < 60


def test_flower_can_serialise_it() -> None:
    stamped = Stamp(instruction(1, b"a"), records.PROTOCOL).to(9, {records.BLOCK: b"b"})
    children = {one.object_id: one for one in [stamped.content]}
    assert Message.inflate(stamped.deflate(), children).content == instruction(9, b"b").content


def test_changing_one_copy_changes_no_other() -> None:
    pattern = instruction(1, b"a")
    stamp = Stamp(pattern, records.PROTOCOL)
    one, other = (stamp.to(node, {records.BLOCK: b"b"}) for node in (2, 3))
    one.content.config_records[records.PROTOCOL][records.BLOCK] = b"c"
    one.metadata.group_id = "elsewhere"
    one.content["more"] = MODEL
    for message, block in ((pattern, b"a"), (other, b"b")):
        assert records.read_block(message) == block and message.metadata.group_id == "4"
        assert "more" not in message.content


def test_what_is_known_without_looking_inside_is_what_is_found_there() -> None:
    stamped = Stamp(instruction(1, b"a"), records.PROTOCOL).to(9, {records.BLOCK: b"b"})
    name_message(stamped, "m9")
    before = (node_of(stamped), name_of(stamped), set(records_of(stamped)), values_of(stamped, records.PROTOCOL))
    assert stamped.has_content() and not stamped.has_error() and stamped.stamp is not None  # nothing is made yet
    assert stamped.metadata.message_id == "m9" and stamped.stamp is None
    assert before == (
        node_of(stamped), name_of(stamped), set(records_of(stamped)), values_of(stamped, records.PROTOCOL),
    )  # fmt: skip
    assert before == (9, "m9", {records.MODEL, records.PROTOCOL}, {records.BLOCK: b"b"})


def test_it_takes_new_content_and_travels_as_an_ordinary_message() -> None:
    pattern = Message(records.instruction(None, b"a"), 1, "train", group_id="4")  # a model's array may hold a view
    stamped = Stamp(pattern, records.PROTOCOL).to(9, {records.BLOCK: b"b"})
    there = pickle.loads(pickle.dumps(stamped))
    assert type(there) is Message and same(there, stamped) and records.read_block(there) == b"b"
    stamped.content = RecordDict()
    assert len(stamped.content) == 0 and "dst_node_id=9" in repr(stamped).replace("'", "").replace(": ", "=")
    with pytest.raises(ValueError, match="error"):
        _ = stamped.error
