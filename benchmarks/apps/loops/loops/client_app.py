"""One client for all loops: FedAvg's, which needs numpy alone, and that of our protocol."""

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from loops.task import scenario

app = ClientApp()


@lru_cache(maxsize=1)
def setup(clients: int) -> Any:
    """Our side's, imported where it is needed: torch takes seconds to load."""
    from scenarios.loading import parse
    from scenarios.setup import prepare

    return prepare(parse(scenario(clients)), alone=True)


@lru_cache(maxsize=1)
def ours() -> ClientApp:
    from clients.flower import client_app
    from scenarios.runner import flower_loader

    def program(context: Context) -> Any:
        folder = context.node_config.get("state-dir") or tempfile.gettempdir()
        return flower_loader(setup(int(context.run_config["clients"])), Path(str(folder)))(context)

    return client_app(program)


@app.query()
def query(message: Message, context: Context) -> Message:
    return ours()(message, context)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Our protocol's answer, or for FedAvg half of the model, which is a step too."""
    if "arrays" not in message.content:
        return ours()(message, context)
    arrays = ArrayRecord([array / 2 for array in message.content["arrays"].to_numpy_ndarrays()])
    return Message(RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": 1})}), reply_to=message)
