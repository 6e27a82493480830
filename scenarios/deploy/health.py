"""`fl-ef21 deploy status`: processes, devices, the last run, and what went wrong last."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fl_ef21.errors import InputError
from scenarios.deploy import flower, processes
from scenarios.deploy.fleet import speaks
from scenarios.deploy.flower import FlowerSaid
from scenarios.deploy.layout import Fleet
from scenarios.ended import Failure
from scenarios.told import Told

TAIL = 1 << 16  # bytes of a log that are looked at
BAD = re.compile(r"\b(ERROR|CRITICAL)\b|^\w*(Error|Exception|Refused)\b")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Status:
    """Attributes:
    superlink: whether it answers, whoever started it.
    processes: what `up` started: role, pid, alive.
    nodes: every client of the fleet: client, node (Flower's id), status as Flower has it, or "unknown".
    run: the last run: folder, name, status, method, round, rounds, bytes, refused, error; None where there is none.
    errors: by role, the last line of its log that tells of an error.
    """

    superlink: bool
    processes: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    run: dict[str, Any] | None
    errors: dict[str, str]


def status(folder: Path) -> Status:
    """How a fleet is. Raises: InputError where there is none."""
    fleet = Fleet.load(folder)
    noted = processes.load(fleet.processes)
    answers = _answers(fleet)
    return Status(
        superlink=answers,
        processes=[{"role": one.role, "pid": one.pid, "alive": one.alive} for one in noted],
        nodes=_nodes(fleet, answers),
        run=_run(fleet),
        errors={role: line for role in _roles(fleet) if (line := last_error(fleet.log(role)))},
    )


def last_error(log: Path) -> str:
    """The last line of a log that tells of an error, "" where none does."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = COLOURS.sub("", file.read().decode(errors="replace")).splitlines()
    return next((line.strip() for line in reversed(lines) if BAD.search(line)), "")


def run_of(out: Path) -> dict[str, Any]:
    """What a run folder tells: of a run that goes on by its progress, else by its summary."""
    told, failure = Told.of(out), Failure.of(out)
    last = _last_row(out / "rounds.jsonl")
    found = {
        "folder": str(out), "name": out.name, "status": "running", "method": last.get("method"),
        "round": last.get("round"), "rounds": None, "uplink_bytes": last.get("uplink_bytes"),
        "downlink_bytes": last.get("downlink_bytes"), "refused": last.get("rejected"),
        "error": failure and failure.words,
    }  # fmt: skip
    summary: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    if told is not None:
        found |= {"name": told.plan.name, "rounds": told.plan.rounds}
        if told.round is not None:
            found |= {"method": told.round.method, "round": told.round.round, "uplink_bytes": told.round.uplink_bytes}
    elif summary:
        found |= {"name": summary["name"], "status": summary["status"]}
        found["refused"] = sum(method.get("rejected") or 0 for method in summary["methods"])
    else:
        found["status"] = "failed" if failure else "not begun"
    return found


def _last_row(path: Path) -> dict[str, Any]:
    """The last whole line, which is an evaluated round; empty where there is none."""
    with suppress(OSError, ValueError, IndexError):
        found = json.loads(path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()[-1])
        return found if isinstance(found, dict) else {}
    return {}


def _answers(fleet: Fleet) -> bool:
    with suppress(InputError):  # something else listens there
        return speaks(fleet)
    return False


def _nodes(fleet: Fleet, answers: bool) -> list[dict[str, Any]]:
    ids: dict[str, str] = {}
    with suppress(OSError, ValueError):
        ids = json.loads(fleet.registered.read_text())
    states: dict[str, str] = {}
    if answers:
        with suppress(FlowerSaid):
            states = flower.nodes(fleet)
    return [
        {"client": client, "node": ids.get(str(client)), "status": states.get(ids.get(str(client), ""), "unknown")}
        for client in range(fleet.nodes)
    ]


def _run(fleet: Fleet) -> dict[str, Any] | None:
    """The run that was submitted last, or written last where it was not by `deploy run`."""
    folders = [path for path in fleet.runs.glob("*") if (path / "run.json").exists()]
    with suppress(OSError, ValueError):
        folders.append(Path(json.loads(fleet.submitted.read_text())["out"]))
    folders = [path for path in folders if path.is_dir()]
    return run_of(max(folders, key=_written)) if folders else None


def _written(out: Path) -> float:
    return max((path.stat().st_mtime for path in out.glob("*.json*")), default=0.0)


def _roles(fleet: Fleet) -> list[str]:
    return ["superlink", *(f"node-{client}" for client in range(fleet.nodes))]
