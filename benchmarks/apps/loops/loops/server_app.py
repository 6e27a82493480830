"""The loops; each tells the seconds of its rounds."""

import json
import time
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from loops.client_app import setup
from loops.task import DIM

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    loop = {"fedavg": fedavg, "looked-at": looked_at, "ours": ours}[str(config["loop"])]
    ends = loop(grid, int(config["rounds"]), int(config["clients"]))
    seconds = [after - before for before, after in pairwise(ends)]
    Path(str(config["out"])).write_text(json.dumps(seconds))


def fedavg(grid: Grid, rounds: int, clients: int) -> list[float]:
    """Flower's own, training alone: without rounds of evaluation by clients."""
    ends = []

    def note(round: int, arrays: ArrayRecord) -> None:
        ends.append(time.perf_counter())

    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    strategy.start(grid, ArrayRecord([np.ones(DIM, np.float32)]), num_rounds=rounds, evaluate_fn=note)
    return ends


def looked_at(grid: Grid, rounds: int, clients: int) -> list[float]:
    """The same messages of the same FedAvg, whose replies our loop collects."""
    from strategies.flower_exchange import exchange

    def send_and_receive(messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return exchange(grid, messages, timeout)[0]

    vars(grid)["send_and_receive"] = send_and_receive
    return fedavg(grid, rounds, clients)


def ours(grid: Grid, rounds: int, clients: int) -> list[float]:
    """Our strategy and our clients."""
    strategy = setup(clients).strategy(0, b"benchmark")
    strategy.nodes.enrol(grid)
    ends = [time.perf_counter()]
    for done in strategy.rounds(grid, rounds):
        assert done.participants == clients, done
        ends.append(time.perf_counter())
    strategy.retire(grid)
    return ends
