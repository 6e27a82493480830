"""EF21-SGDM as a user of Flower would write it: state in the context, plain torch.

A module of its own, imported by Flower's workers: what Flower ships with every message is then the app
alone, and each worker loads the data once.
"""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from benchmarks.cases import ETA, FRACTION, GAMMA, Case, Gradient, cases, simple_gradient

client = ClientApp()


@lru_cache(maxsize=1)
def problem(name: str) -> tuple[int, Gradient]:
    """d and one client's stochastic gradient, loaded once a process."""
    torch.set_num_threads(1)
    return simple_gradient(next(case for case in cases(True) if case.name == name))


@client.train()
def train(message: Message, context: Context) -> Message:
    """One EF21-SGDM step."""
    config = message.content.config_records["c"]
    d, gradient = problem(str(config["case"]))
    x = torch.from_numpy(message.content.array_records["x"]["x"].numpy().copy())
    q = gradient(x, int(context.node_config["partition-id"]), int(config["round"]))
    if "s" in context.state:
        kept = context.state.array_records["s"]
        v, g = (torch.from_numpy(kept[one].numpy().copy()) for one in "vg")
    else:
        v, g = torch.zeros(d), torch.zeros(d)
    v.lerp_(q, ETA)
    index = (v - g).abs().topk(max(1, round(FRACTION * d)), sorted=False).indices
    value = (v - g)[index]
    g[index] += value
    context.state["s"] = ArrayRecord({"v": Array(v.numpy()), "g": Array(g.numpy())})
    out = ArrayRecord({"i": Array(index.to(torch.int32).numpy()), "c": Array(value.numpy())})
    return Message(RecordDict({"r": out}), reply_to=message)


def serve(grid: Grid, case: Case) -> list[float]:
    """Rounds of the server half; seconds of each, the first of which includes the workers' loading."""
    clients = case.scenario.partition.clients
    while len(nodes := list(grid.get_node_ids())) < clients:
        time.sleep(0.1)
    d, _ = problem(case.name)
    x, g, times = torch.zeros(d), torch.zeros(d), []
    for t in range(1, case.flower_rounds + 2):
        began = time.perf_counter()
        record, config = ArrayRecord({"x": Array(x.numpy())}), ConfigRecord({"round": t, "case": case.name})
        asked = [Message(RecordDict({"x": record, "c": config}), node, "train") for node in nodes]
        for reply in grid.send_and_receive(asked):
            r = reply.content.array_records["r"]
            index = torch.from_numpy(r["i"].numpy().copy()).to(torch.int64)
            g.index_add_(0, index, torch.from_numpy(r["c"].numpy().copy()), alpha=1 / clients)
        x = x - GAMMA * g
        times.append(time.perf_counter() - began)
    return times
