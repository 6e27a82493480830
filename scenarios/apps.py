"""The Flower app: the one place where the two halves meet. `flwr run .` starts it."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower import client_app, identity
from clients.program import Program
from scenarios.loading import load
from scenarios.runner import RunFailed, flower_loader, serve
from scenarios.samples import Own
from scenarios.setup import Setup, prepare

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario named in run-config on this Grid and leave a run folder where `out` says."""
    scenario = _scenario(context)
    out = Path(str(context.run_config["out"]) or f"runs/{Path(scenario).stem}-{context.run_id}").resolve()
    result = serve(_setup(scenario), grid, out, f"flwr run . --run-config 'scenario=\"{scenario}\"'")
    print(f"{result.table().to_string(index=False)}\n\nthe run is in {out}", flush=True)
    if result.summary["status"] != "finished":
        raise RunFailed(f"the run ended as {result.summary['status']}; see {out}")


@lru_cache(maxsize=4)
def _setup(scenario: str) -> Setup:
    return prepare(load(scenario), alone=True, elsewhere=True)


@lru_cache(maxsize=4)
def _own(scenario: str, client: int, path: str) -> Setup:
    """With this client's samples alone, from a file of its own."""
    return prepare(load(scenario), alone=True, own=Own(client, path))


def _scenario(context: Context) -> str:
    return str(context.run_config["scenario"])


def _load(context: Context) -> Program:
    folder = str(context.run_config["state-dir"]) or str(context.node_config.get("state-dir", ""))
    private = Path(tempfile.gettempdir()) / f"fl-ef21-state-{os.getuid()}"
    return flower_loader(_device(context), Path(folder) if folder else private)(context)


def _device(context: Context) -> Setup:
    """What this node computes from: the file that node-config's `data-path` names, else what the scenario says."""
    path = context.node_config.get("data-path", "")
    return _own(_scenario(context), identity(context), str(path)) if path else _setup(_scenario(context))


client = client_app(_load)
