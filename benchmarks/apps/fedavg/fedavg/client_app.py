"""A client: one momentum step per round; the momentum and a count of rounds stay in its context."""

from functools import lru_cache

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedavg.task import SAMPLES, data, gradient, start

app = ClientApp()
load = lru_cache(maxsize=None)(data)  # as apps do: once a process


@app.train()
def train(message: Message, context: Context) -> Message:
    """One step from the server's model."""
    client, config = int(context.node_config["partition-id"]), context.run_config
    weight, bias = (message.content["arrays"][name].numpy() for name in ("weight", "bias"))
    seen = int(context.state["seen"]["rounds"]) if "seen" in context.state else 0
    kept = context.state.get("momentum")
    v, b = (kept["v"].numpy(), kept["b"].numpy()) if kept else start()

    x, y = load(client)
    batch = np.random.default_rng((client, seen)).integers(0, SAMPLES, int(config["batch-size"]))
    q, c, loss = gradient(weight, bias, x[batch], y[batch])
    v, b = float(config["momentum"]) * v + q, float(config["momentum"]) * b + c
    rate = float(config["learning-rate"])
    weight, bias = weight - rate * v, bias - rate * b

    context.state["momentum"] = ArrayRecord({"v": Array(v), "b": Array(b)})
    context.state["seen"] = ConfigRecord({"rounds": seen + 1})
    arrays = ArrayRecord({"weight": Array(weight), "bias": Array(bias)})
    metrics = MetricRecord({"num-examples": len(batch), "loss": loss})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The loss of the server's model on all of the client's samples."""
    weight, bias = (message.content["arrays"][name].numpy() for name in ("weight", "bias"))
    *_, loss = gradient(weight, bias, *load(int(context.node_config["partition-id"])))
    return Message(RecordDict({"metrics": MetricRecord({"num-examples": SAMPLES, "loss": loss})}), reply_to=message)
