"""The Flower app: the one place where the two halves meet. `flwr run .` starts it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.flower import client_app, identity
from clients.program import Program
from fl_ef21.sealing import ClientKeys, ServerKeys
from scenarios.ended import noted
from scenarios.folder import folder_name
from scenarios.loading import resolve
from scenarios.runner import NoQuorum, Stopped, flower_loader, serve
from scenarios.samples import Own
from scenarios.setup import Setup, prepare
from scenarios.summary import no_quorum
from scenarios.told import Telling

server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the scenario of run-config on this Grid and leave a run folder where `out` says."""
    given = str(context.run_config["out"])
    with noted(Path(given) if given else None):
        setup = _setup(_scenario(context), context.run_id)
        out = Path(given or f"runs/{folder_name(setup.scenario.name)}-{context.run_id}").resolve()
        setup = replace(setup, keys=_server_keys(context, setup.problem.clients))
        result = serve(setup, grid, out, _command(context), Telling(out))
        print(f"{result.table().to_string(index=False)}\n\nthe run is in {out}", flush=True)
        if result.summary["status"] != "finished":
            if why := no_quorum(result.summary):
                raise NoQuorum(f"{why}; see {out}")
            raise Stopped(f"the run ended as {result.summary['status']}; see {out}")


@lru_cache(maxsize=2)  # by run: a device's process outlives runs, and between them its file may change
def _setup(scenario: str, run: int) -> Setup:
    return prepare(resolve(scenario), alone=True, elsewhere=True)


@lru_cache(maxsize=2)
def _own(scenario: str, client: int, path: str, run: int) -> Setup:
    """With this client's samples alone, from a file of its own."""
    return prepare(resolve(scenario), alone=True, own=Own(client, path))


def _scenario(context: Context) -> str:
    return str(context.run_config["scenario"])


def _command(context: Context) -> str:
    """What does the same again; a scenario that was handed over as text is in the run folder."""
    word = _scenario(context)
    return f"flwr run . --run-config 'scenario=\"{word}\"'" if "\n" not in word else "fl-ef21 deploy run DIR SCENARIO"


def _load(context: Context) -> Program:
    folder = str(context.run_config["state-dir"]) or str(context.node_config.get("state-dir", ""))
    private = Path(tempfile.gettempdir()) / f"fl-ef21-state-{os.getuid()}"
    return flower_loader(_device(context), Path(folder) if folder else private)(context)


def _device(context: Context) -> Setup:
    """What this node computes from: the file that node-config's `data-path` names, else what the scenario says."""
    path = context.node_config.get("data-path", "")
    if not path:
        return _setup(_scenario(context), context.run_id)
    return _own(_scenario(context), identity(context), str(path), context.run_id)


def _server_keys(context: Context, clients: int) -> ServerKeys | None:
    folder = str(context.run_config["message-keys"])
    return ServerKeys.load(Path(folder), clients) if folder else None


def _client_keys(context: Context) -> ClientKeys:
    mine, theirs = (str(context.node_config.get(name, "")) for name in ("message-key", "server-key"))
    return ClientKeys.load(mine, theirs)


client = client_app(_load, _client_keys)
