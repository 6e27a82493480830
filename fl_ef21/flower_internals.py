"""Every use of a Flower name that is not public, so that one file is looked at when Flower changes.

Its companions: flower_stamp.py knows how messages and records keep what is in them, flower_traffic.py how they travel.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, Metadata, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

CLIENT_RAISED, NODE_UNAVAILABLE = 2, 5  # flwr.common.constant.ErrorCode
SERVER = 1  # flwr.common.constant.SUPERLINK_NODE_ID


def identify(run_id: int, node_id: int = 1) -> None:
    """Messages can only be made by a task; a Grid outside a Flower run says who it is."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, node_id, run_id


def error_reply(message: Message, code: int, reason: str) -> Message:
    """What a runtime answers for a client that could not."""
    return Message(Error(code, reason), reply_to=message)


def message_parts(message: Message) -> tuple[dict[str, Any], RecordDict | None, tuple[int, str | None] | None]:
    """Metadata, content and error of a message, of which the first is a copy."""
    error = (message.error.code, message.error.reason) if message.has_error() else None
    return dict(message.metadata.__dict__), message.content if message.has_content() else None, error


def make_message(metadata: dict[str, Any], content: RecordDict | None, error: tuple[int, str | None] | None) -> Message:
    """The message of these parts, which become its own."""
    message, known = object.__new__(Message), object.__new__(Metadata)
    known.__dict__.update(metadata)
    message.__dict__.update(_metadata=known, _content=content, _error=None if error is None else Error(*error))
    return message


def record_parts(record: Any) -> tuple[Any, dict[str, Any]]:
    """Kind and entries of a record, lists copied; an array is its (dtype, shape, stype, data)."""
    entries: dict[str, Any] = record.__dict__["_data"]
    if isinstance(record, ArrayRecord):
        return ArrayRecord, {name: (one.dtype, one.shape, one.stype, one.data) for name, one in entries.items()}
    kind = MetricRecord if isinstance(record, MetricRecord) else ConfigRecord
    return kind, {name: list(one) if isinstance(one, list) else one for name, one in entries.items()}


def make_record(parts: tuple[Any, dict[str, Any]]) -> Any:
    """A record of these parts that shares nothing with another but bytes: 1 us, where Flower's checks take 10."""
    kind, entries = parts
    record = kind()
    if kind is ArrayRecord:
        record.__dict__["_data"] = {name: _array(*one) for name, one in entries.items()}
    else:
        record.__dict__["_data"] = {n: list(one) if isinstance(one, list) else one for n, one in entries.items()}
    return record


def make_records(records: dict[str, Any]) -> RecordDict:
    """A RecordDict of records that have been checked before."""
    content = RecordDict()
    content.__dict__["_data"] = records
    return content


def _array(dtype: str, shape: tuple[int, ...], stype: str, data: bytes) -> Array:
    array = object.__new__(Array)
    array.__dict__.update(dtype=dtype, shape=shape, stype=stype, data=data)
    return array


def new_run(run_id: int) -> Run:
    """A run that no SuperLink knows of."""
    return Run.create_empty(run_id)


def new_context(run: Run, run_config: dict[str, Any]) -> Context:
    """What Flower's simulation hands a ServerApp."""
    return Context(run_id=run.run_id, node_id=SERVER, node_config={}, state=RecordDict(), run_config=run_config)


def flat_config(table: dict[str, Any]) -> dict[str, Any]:
    """A run-config as apps see it: {"a": {"b": 1}} is {"a.b": 1}. Raises: ValueError for what it cannot hold."""
    from flwr.common.config import flatten_dict

    return dict(flatten_dict(table))


def simulate(
    server: ServerApp, client: ClientApp, nodes: int, backend: dict[str, Any],
    folder: Path | None = None, run_config: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Flower's own simulation runtime in this process; returns when the ServerApp does.

    `run_config` is what both halves see, and `folder` that of the app whose defaults it changes.

    The public `run_simulation` is deprecated in favour of `flwr run`, which cannot hand apps over as values.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns
    from flwr.simulation.run_simulation import _run_simulation
    from flwr.supercore.constant import NOOP_FEDERATION_ID
    from flwr.supercore.telemetry import EventType

    run, context = None, None
    if run_config is not None:
        run = new_run(1)
        run.override_config, run.primary_task_id, run.federation_id = dict(run_config), 1, NOOP_FEDERATION_ID
        identify(run.run_id)
        context = new_context(run, dict(run_config))
    _run_simulation(
        num_supernodes=nodes,
        exit_event=EventType.PYTHON_API_RUN_SIMULATION_LEAVE,
        client_app=client,
        server_app=server,
        backend_config=backend,
        app_dir=str(folder or ""),
        is_app=folder is not None,
        run=run,
        server_app_context=context,
    )


def simulated(grid: Grid) -> bool:
    """Whether this is the Grid of Flower's own simulation, which starts with all of its nodes."""
    from flwr.superlink.grid import InMemoryGrid

    return isinstance(grid, InMemoryGrid)


def deployed(grid: Grid) -> bool:
    """Whether real SuperNodes answer, which come, go, and fetch what they are asked when they like."""
    from flwr.superlink.grid import HttpGrid

    return isinstance(getattr(grid, "inner", grid), HttpGrid)


def activations(grid: Grid) -> dict[int, str]:
    """Since when each node of a deployment has been there, by the SuperLink's clock; who is not there is left out."""
    inner: Any = getattr(grid, "inner", grid)
    return {node.node_id: node.last_activated_at for node in inner.get_nodes()}


def sendable(grid: Grid, messages: Iterable[Message]) -> Iterable[Message]:
    """The messages as this Grid can take them: that of a deployment goes through them twice, so it is given a list."""
    from flwr.superlink.grid import HttpGrid

    return list(messages) if isinstance(grid, HttpGrid) else messages
