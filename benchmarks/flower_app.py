"""One unmodified Flower app on the resident engine and on Flower's own simulation: clients per second, memory.

    python -m benchmarks.flower_app [--quick] [--json]

The app is benchmarks/apps/fedavg: FedAvg, softmax regression with d = 7,850, 100 clients whose momentum stays in
their context. Each side runs in a process of its own, one after another. A round is train and evaluate, so 200
client messages; the first, in which clients make their data, is left out of the median.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import Peak

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

APP = Path(__file__).resolve().parent / "apps" / "fedavg"
SIDES = {"engine": "RayGrid, 2 actors", "here": "RayGrid, this process", "flower": "Flower's simulation"}


def side(name: str, rounds: int, out: str) -> dict[str, float]:
    """Run the app on one side; the model is written to `out`."""
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp

    from fl_ef21.engine import Settings
    from fl_ef21.flower_internals import simulate
    from scenarios.app_folder import AppFolder
    from scenarios.foreign import App, load

    folder = AppFolder.read(APP)
    app = load(folder, folder.run_config([f"rounds={rounds}", f'out="{out}"']))
    watched, calls = ServerApp(), list[tuple[float, int]]()

    @watched.main()
    def main(grid: Grid, context: Context) -> None:
        send = grid.send_and_receive

        def timed(messages: Iterable[Any], **rest: Any) -> list[Any]:
            replies = list(send(messages, **rest))
            calls.append((time.perf_counter(), sum(not reply.has_error() for reply in replies)))
            return replies

        vars(grid)["send_and_receive"] = timed
        while len(list(grid.get_node_ids())) < folder.clients:
            time.sleep(0.1)
        app.server(grid, context)

    if name == "flower":
        options = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        backend = {"init_args": options, "client_resources": {"num_cpus": 1, "num_gpus": 0}}
        simulate(watched, app.client, folder.clients, backend, folder=APP, run_config=app.run_config)
    else:
        App(watched, app.client, app.run_config).run(folder.clients, Settings(2 if name == "engine" else 0))
    return rates(calls)


def rates(calls: list[tuple[float, int]]) -> dict[str, float]:
    """Client messages per second from the end of one round to the end of the next."""
    ends = calls[1::2]
    answered = [calls[i][1] + calls[i + 1][1] for i in range(2, len(calls), 2)]
    found = sorted(n / (b[0] - a[0]) for n, a, b in zip(answered, ends, ends[1:], strict=False))
    return {"clients_per_second": found[len(found) // 2], "slowest": found[0], "fastest": found[-1]}


def measure(name: str, rounds: int, out: Path) -> dict[str, Any]:
    """Run one side in its own process and watch its memory."""
    command = [sys.executable, "-m", "benchmarks.flower_app", "--side", name, str(rounds), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    peak = Peak(process.pid)
    told, err = process.communicate()
    found = [line for line in told.splitlines() if line.startswith("RESULT ")]
    if process.returncode != 0 or not found:
        raise SystemExit(f"{name} failed:\n{err[-2000:]}")
    return json.loads(found[-1].removeprefix("RESULT ")) | {"peak_mib": peak.stop() / 2**20}


def main() -> None:
    if "--side" in sys.argv:
        name, rounds, out = sys.argv[2:]
        print("RESULT " + json.dumps(side(name, int(rounds), out)), flush=True)
        return
    rounds = 6 if "--quick" in sys.argv else 20
    with tempfile.TemporaryDirectory() as folder:
        got = {name: measure(name, rounds, Path(folder) / f"{name}.npy") for name in SIDES}
        models = {name: np.load(Path(folder) / f"{name}.npy") for name in SIDES}
    for name, row in got.items():
        row["vs_flower"] = row["clients_per_second"] / got["flower"]["clients_per_second"]
        row["same_model"] = bool(np.allclose(models[name], models["flower"], rtol=1e-4, atol=1e-5))
    print(json.dumps(got, indent=2) if "--json" in sys.argv else "\n".join(map(line, got.items())))
    if not all(row["same_model"] for row in got.values()):
        raise SystemExit("the sides end with different models")


def line(named: tuple[str, dict[str, Any]]) -> str:
    name, got = named
    spread = f"({got['slowest']:,.0f} to {got['fastest']:,.0f})"
    return (
        f"{SIDES[name]:22} {got['clients_per_second']:8,.0f} clients/s {spread:20} {got['vs_flower']:6.1f}x"
        f" {got['peak_mib']:7,.0f} MiB   {'same model' if got['same_model'] else 'ANOTHER MODEL'}"
    )


if __name__ == "__main__":
    main()
