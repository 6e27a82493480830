"""The server: Flower's FedAvg."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from fedavg.task import start

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train for `rounds` rounds and write the model where `out` says."""
    config = context.run_config
    weight, bias = start()
    result = FedAvg(fraction_train=float(config["fraction-train"])).start(
        grid, ArrayRecord({"weight": Array(weight), "bias": Array(bias)}), num_rounds=int(config["rounds"])
    )
    if config["out"]:
        np.save(
            str(config["out"]), np.concatenate([result.arrays[name].numpy().ravel() for name in ("weight", "bias")])
        )
