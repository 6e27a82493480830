"""The two loops; each tells the seconds of its rounds."""

import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from loops.client_app import setup
from loops.task import DIM

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    loop = fedavg if config["loop"] == "fedavg" else ours
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


def ours(grid: Grid, rounds: int, clients: int) -> list[float]:
    strategy = setup(clients).strategy(0, b"benchmark")
    strategy.nodes.enrol(grid)
    ends = [time.perf_counter()]
    for done in strategy.rounds(grid, rounds):
        assert done.participants == clients, done
        ends.append(time.perf_counter())
    strategy.retire(grid)
    return ends
