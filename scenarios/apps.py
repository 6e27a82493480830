"""The Flower app: the one place where the two halves meet. `flwr run .` starts it."""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower import client_app
from clients.program import Program
from scenarios.loading import load
from scenarios.runner import RunFailed, flower_loader, serve
from scenarios.setup import Setup, prepare
from scenarios.summary import no_quorum

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario named in run-config on this Grid and leave a run folder where `out` says."""
    scenario = _scenario(context)
    out = Path(str(context.run_config["out"]) or f"runs/{Path(scenario).stem}-{context.run_id}").resolve()
    result = serve(_setup(scenario), grid, out, f"flwr run . --run-config 'scenario=\"{scenario}\"'")
    print(f"{result.table().to_string(index=False)}\n\nthe run is in {out}", flush=True)
    if result.summary["status"] != "finished":
        why = no_quorum(result.summary)
        raise RunFailed(f"the run ended as {result.summary['status']}{f' ({why})' if why else ''}; see {out}")


@lru_cache(maxsize=4)
def _setup(scenario: str) -> Setup:
    return prepare(load(scenario), alone=True)


def _scenario(context: Context) -> str:
    return str(context.run_config["scenario"])


def _load(context: Context) -> Program:
    folder = str(context.run_config["state-dir"]) or str(context.node_config.get("state-dir", ""))
    private = Path(tempfile.gettempdir()) / f"fl-ef21-state-{os.getuid()}"
    return flower_loader(_setup(_scenario(context)), Path(folder) if folder else private)(context)


client = client_app(_load)
