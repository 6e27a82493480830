"""The client half as a Flower ClientApp."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from clients.program import Program
from fl_ef21 import records
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import InputError, Refused
from fl_ef21.sealing import ClientKeys

UNSIGNED = ClientKeys()


def client_app(
    load: Callable[[Context], Program], keys: Callable[[Context], ClientKeys] = lambda _: UNSIGNED
) -> ClientApp:
    """A ClientApp whose clients are those of the program that `load` finds for a context.

    keys: what a client signs with, and whose instructions it follows.
    A node whose node-config says `leaving=true` answers that its client leaves, and computes no more.
    """
    app = ClientApp()

    def answer(message: Message, context: Context) -> Message:
        mine = keys(context)
        mine.check(message)
        block = records.read_block(message)
        if context.node_config.get("leaving") and Block.unpack(block).kind == Kind.TRAIN:
            return Message(mine.seal(records.reply(Block.answered(block, Kind.BYE), b"")), reply_to=message)
        model = message.content.get(records.MODEL)
        x = None if model is None else records.unpack_model(message.content.array_records[records.MODEL])
        told = [records.read_broadcast(message.content)]
        repair = records.read_repair(message.content)
        repairs = {} if repair is None else {0: repair}
        got = load(context).answer(x, [identity(context)], [block], told, repairs)[0]
        if isinstance(got, Refused):
            raise got
        return Message(mine.seal(records.reply(*got)), reply_to=message)

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
