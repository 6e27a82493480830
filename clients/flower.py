"""The client half as a Flower ClientApp."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.program import Program
from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import InputError, Refused


def client_app(load: Callable[[Context], Program]) -> ClientApp:
    """A ClientApp whose clients are those of the program that `load` finds for a context.

    A node whose node-config says `leaving=true` answers that its client leaves, and computes no more.
    """
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        if context.node_config.get("leaving") and message.metadata.message_type == "train":
            return Message(records.reply(Block.answered(records.read_block(message), Kind.BYE), b""), reply_to=message)
        model = message.content.get(records.MODEL)
        x = None if model is None else records.unpack_model(message.content.array_records[records.MODEL])
        told = [records.read_broadcast(message.content)]
        repair = records.read_repair(message.content)
        repairs = {} if repair is None else {0: repair}
        got = load(context).answer(x, [identity(context)], [records.read_block(message)], told, repairs)[0]
        if isinstance(got, Refused):
            raise got
        return Message(records.reply(*got), reply_to=message)

    app.train()(answer)
    app.query()(answer)
    return app


def identity(context: Context) -> int:
    """Our own name of this client: Flower's node id changes when a SuperNode restarts.

    Raises: InputError where node-config has no `partition-id`.
    """
    client = context.node_config.get("partition-id")
    if not isinstance(client, int):
        raise InputError("node-config.partition-id", client, "must be this client's number, from 0")
    return client
