"""Flower's side: EF21-SGDM as a good user of Flower writes it, v and g in the context, plain torch.

A module of its own, imported by Flower's workers: what Flower ships with every message is then the app
alone, and each worker makes its data once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from torch import Tensor

from benchmarks import plain
from benchmarks.cases import ETA, GAMMA, Case, World, worlds

client = ClientApp()


@lru_cache(maxsize=1)
def gradients(name: str) -> plain.Gradients:
    """Stochastic gradients in a world, once a process."""
    torch.set_num_threads(1)
    return next(iter(plain.ways(next(world for world in worlds(True) if world.name == name)).values()))


@client.train()
def train(message: Message, context: Context) -> Message:
    """One EF21-SGDM step."""
    config = message.content.config_records["c"]
    i = int(context.node_config["partition-id"])
    x = tensor(message.content.array_records["x"]["x"])
    q = gradients(str(config["world"]))(x, slice(i, i + 1))[0]
    if "s" in context.state:
        kept = context.state.array_records["s"]
        v, g = tensor(kept["v"]), tensor(kept["g"])
    else:
        v, g = torch.zeros_like(q), torch.zeros_like(q)
    v.lerp_(q, ETA)
    u = torch.sub(v, g, out=q)
    index = u.abs().topk(int(str(config["k"])), sorted=False).indices
    c = u[index]
    g[index] += c
    context.state["s"] = ArrayRecord({"v": Array(v.numpy()), "g": Array(g.numpy())})
    out = ArrayRecord({"i": Array(index.to(torch.int32).numpy()), "c": Array(c.numpy())})
    return Message(RecordDict({"r": out}), reply_to=message)


def tensor(array: Array) -> Tensor:
    """Shares the memory that Flower has read the array into, which nobody else holds."""
    return torch.from_numpy(array.numpy())


class Server:
    """The server half over n clients."""

    def __init__(self, x: Tensor, world: World) -> None:
        self.x, self.world, self.g = x, world, torch.zeros_like(x)

    def round(self, grid: Grid, nodes: list[int]) -> None:
        record = ArrayRecord({"x": Array(self.x.numpy())})
        config = ConfigRecord({"world": self.world.name, "k": self.world.k})
        asked = [Message(RecordDict({"x": record, "c": config}), node, "train") for node in nodes]
        replies = list(grid.send_and_receive(asked))
        for reply in replies:
            r = reply.content.array_records["r"]
            index, c = tensor(r["i"]).to(torch.int64), tensor(r["c"])
            self.g.index_add_(0, index, c, alpha=1 / self.world.clients)
        if len(replies) < len(nodes):
            raise RuntimeError(f"{len(replies)} of {len(nodes)} clients answered")
        self.x = self.x - GAMMA * self.g


def serve(grid: Grid, world: World, tell: Callable[[Case, list[float], str], None]) -> None:
    """Time every case of a world, after a round in which both workers make their data."""
    while len(nodes := list(grid.get_node_ids())) < world.clients:
        time.sleep(0.1)
    Server(plain.start(world), world).round(grid, nodes[:10])
    server = Server(plain.start(world), world)
    for case in world.cases:
        times = []
        for _ in range(case.flower_rounds):
            began = time.perf_counter()
            server.round(grid, [nodes[i] for i in torch.randperm(world.clients)[: case.asked].tolist()])
            times.append(time.perf_counter() - began)
        tell(case, times, "two workers of one thread")
