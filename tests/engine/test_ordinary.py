"""Clients of an ordinary app are apart: from one another, from the driver, and from what they had failed to do."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fl_ef21.engine import RayGrid, Settings
from fl_ef21.engine.ordinary import STORED

ACTORS = [0, pytest.param(2, marks=pytest.mark.system)]
SIZES = [3, STORED // 8]  # with the call, and through the object store


def instructions(nodes: range, size: int) -> list[Message]:
    """One content for all, as Flower's strategies make them."""
    content = RecordDict({"x": ArrayRecord({"x": Array(np.zeros(size))}), "c": ConfigRecord({"steps": [1, 2]})})
    return [Message(content, node, "train", group_id="7") for node in nodes]


def vandal() -> ClientApp:
    """Tells what it was sent, then changes everything of it that can be changed."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        content = message.content
        x, steps = content["x"]["x"].numpy(), content["c"]["steps"]
        seen = MetricRecord({"sum": float(x.sum()), "steps": list(steps), "keys": len(content)})
        x += 1
        steps.append(3)
        content["x"]["x"].data = Array(x).data
        content["x"]["y"] = Array(x)
        content["c"]["lr"] = 0.5
        content["extra"] = ConfigRecord()
        reply = Message(RecordDict({"seen": seen, "x": ArrayRecord({"x": Array(x)})}), reply_to=message)
        message.metadata.dst_node_id = 99
        return reply

    return app


@pytest.mark.parametrize("actors", ACTORS)
def test_a_client_that_changes_its_message_changes_no_other(actors: int) -> None:
    with RayGrid(4, app=vandal(), settings=Settings(actors, cpus_per_actor=0.5)) as grid:
        rounds = [(sent, grid.send_and_receive(sent)) for sent in (instructions(range(1, 5), size) for size in SIZES)]
    for sent, replies in rounds:
        for reply in replies:
            seen = reply.content["seen"]
            assert (seen["sum"], seen["steps"], seen["keys"]) == (0.0, [1, 2], 2)
            assert (reply.content["x"]["x"].numpy() == 1).all()
        content = sent[0].content
        assert set(content) == {"x", "c"} and dict(content["c"]) == {"steps": [1, 2]}
        assert list(content["x"]) == ["x"] and not content["x"]["x"].numpy().any()
        assert [message.metadata.dst_node_id for message in sent] == [1, 2, 3, 4]


def test_what_the_driver_does_to_a_reply_does_not_reach_the_client() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        kept = context.state.setdefault("kept", ConfigRecord({"n": [0]}))
        return Message(RecordDict({"kept": kept}), reply_to=message)

    with RayGrid(1, app=app, settings=Settings(0)) as grid:
        for _ in range(2):
            (reply,) = grid.send_and_receive(instructions(range(1, 2), 1))
            assert reply.content["kept"]["n"] == [0]
            reply.content["kept"]["n"].append(1)


@pytest.mark.parametrize("actors", ACTORS)
def test_a_client_that_raises_keeps_the_state_it_had_as_on_flowers_simulation(actors: int) -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        count = context.state.setdefault("count", ConfigRecord({"n": 0}))
        count["n"] += 1
        calls = context.run_config["calls"] = int(context.run_config.get("calls", 0)) + 1  # not state: it stays
        if calls == 2:
            raise RuntimeError("a bad day")
        return Message(RecordDict({"count": count}), reply_to=message)

    with RayGrid(1, app=app, settings=Settings(actors)) as grid:
        replies = [grid.send_and_receive(instructions(range(1, 2), 1))[0] for _ in range(3)]
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert replies[2].content["count"]["n"] == 2
    assert replies[1].error.code == 2 and "RuntimeError: a bad day" in str(replies[1].error.reason)


@pytest.mark.parametrize("actors", ACTORS)
def test_replies_carry_the_metadata_that_flower_gives_them(actors: int) -> None:
    app = ClientApp()

    @app.query("ask")
    def ask(message: Message, context: Context) -> Message | None:
        return None if context.node_id == 2 else Message(RecordDict(), reply_to=message, ttl=5.0)

    with RayGrid(3, app=app, settings=Settings(actors, cpus_per_actor=0.5)) as grid:
        sent = [Message(RecordDict(), node, "query.ask", group_id="7") for node in (3, 1, 2)]
        replies = grid.send_and_receive(sent)
    for message, reply in zip(sent, replies, strict=True):
        there, back = message.metadata, reply.metadata
        assert (back.src_node_id, back.dst_node_id) == (there.dst_node_id, there.src_node_id)
        assert (back.reply_to_message_id, back.group_id) == (there.message_id, "7")
        assert (back.run_id, back.message_type) == (there.run_id, "query.ask")
        assert back.created_at >= there.created_at and back.ttl <= there.ttl
    assert [reply.metadata.ttl for reply in replies[:2]] == [5.0, 5.0]
    assert len({reply.metadata.message_id for reply in replies}) == 3
    assert "returned NoneType, not a Message" in str(replies[2].error.reason)


def test_lifespan_and_mods_of_an_app_work() -> None:
    told = list[str]()

    def mod(message: Message, context: Context, call: object) -> Message:
        told.append("mod")
        return call(message, context)

    app = ClientApp()

    @app.lifespan()
    def lifespan(context: Context):
        told.append("enter")
        yield
        told.append("leave")

    @app.train(mods=[mod])
    def train(message: Message, context: Context) -> Message:
        told.append("train")
        return Message(RecordDict(), reply_to=message)

    with RayGrid(1, app=app, settings=Settings(0)) as grid:
        grid.send_and_receive(instructions(range(1, 2), 1))
    assert told == ["enter", "mod", "train", "leave"]


def test_more_messages_than_one_call_takes_come_back_in_order() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return Message(RecordDict({"id": ConfigRecord({"i": context.node_id})}), reply_to=message)

    with RayGrid(70, app=app, settings=Settings(0)) as grid:
        replies = grid.send_and_receive(instructions(range(70, 0, -1), 1))
    assert [reply.content["id"]["i"] for reply in replies] == list(range(70, 0, -1))
