"""One client for both loops, so that a process of either loads the same."""

import tempfile
from functools import lru_cache
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.flower import client_app
from clients.program import Program
from fl_ef21 import records
from loops.task import scenario
from scenarios.loading import parse
from scenarios.runner import flower_loader
from scenarios.setup import Setup, prepare

app = ClientApp()


@lru_cache(maxsize=1)
def setup(clients: int) -> Setup:
    return prepare(parse(scenario(clients)), alone=True)


def program(context: Context) -> Program:
    folder = context.node_config.get("state-dir") or tempfile.gettempdir()
    return flower_loader(setup(int(context.run_config["clients"])), Path(str(folder)))(context)


ours = client_app(program)
app.query()(lambda message, context: ours(message, context))


@app.train()
def train(message: Message, context: Context) -> Message:
    """Our protocol's answer, or for FedAvg half of the model, which is a step too."""
    if records.PROTOCOL in message.content:
        return ours(message, context)
    arrays = ArrayRecord([array / 2 for array in message.content["arrays"].to_numpy_ndarrays()])
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)
