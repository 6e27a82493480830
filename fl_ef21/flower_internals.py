"""Every use of a Flower name that is not public, so that one file is looked at when Flower changes."""

from __future__ import annotations

import os
from typing import Any

from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

CLIENT_RAISED, NODE_UNAVAILABLE = 2, 5  # flwr.common.constant.ErrorCode


def identify(run_id: int, node_id: int = 1) -> None:
    """Messages can only be made by a task; a Grid outside a Flower run says who it is."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, node_id, run_id


def name_message(message: Message, name: str) -> None:
    """Give a message the id its reply will refer to, as a SuperLink does."""
    message.metadata.__dict__["_message_id"] = name


def error_reply(message: Message, code: int, reason: str) -> Message:
    """What a runtime answers for a client that could not."""
    return Message(Error(code, reason), reply_to=message)


def new_run(run_id: int) -> Run:
    """A run that no SuperLink knows of."""
    return Run.create_empty(run_id)


def simulate(server: ServerApp, client: ClientApp, nodes: int, backend: dict[str, Any]) -> None:
    """Flower's own simulation runtime in this process; returns when the ServerApp does.

    The public `run_simulation` is deprecated in favour of `flwr run`, which cannot hand apps over as values.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns
    from flwr.simulation.run_simulation import _run_simulation
    from flwr.supercore.telemetry import EventType

    _run_simulation(
        num_supernodes=nodes,
        exit_event=EventType.PYTHON_API_RUN_SIMULATION_LEAVE,
        client_app=client,
        server_app=server,
        backend_config=backend,
    )


def simulated(grid: Grid) -> bool:
    """Whether this is the Grid of Flower's own simulation, which starts with all of its nodes."""
    from flwr.superlink.grid import InMemoryGrid

    return isinstance(grid, InMemoryGrid)
