"""`fl-ef21 deploy`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scenarios.commands.failures import Code, explained
from scenarios.units import size

if TYPE_CHECKING:
    from scenarios.deploy import Status


def init(folder: Path, nodes: int, hosts: Sequence[str], port: int, debug: bool) -> None:
    """Make a fleet and say what to do with it. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.deploy import init as make

        fleet = make(folder, nodes, hosts, port)
        copies = "folder nodes/0" if nodes == 1 else f"folders nodes/0 to nodes/{nodes - 1}"
        talk(
            f"made {folder} for {nodes} {'device' if nodes == 1 else 'devices'} of {fleet.hosts[0]}:{fleet.port}\n"
            f"  try it here:   fl-ef21 deploy up {folder}\n"
            f"  on devices:    copy the {copies} to a device each and run its start.sh, or use its systemd unit\n"
            f"  on the server: fl-ef21 deploy up {folder} --nodes 0 --listen 0.0.0.0\n"
            f"  keep {folder}/ca/ca.key where no device is: whoever has it can pass for the server"
        )


def up(folder: Path, nodes: int | None, plain: bool, listen: str, patience: float, debug: bool) -> None:
    """Start a fleet. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.deploy import up as start

        fleet = start(folder, nodes, plain=plain, listen=listen, patience=patience, say=talk)
        talk(f"up; `fl-ef21 deploy run {folder} SCENARIO`, or FLWR_HOME={fleet.flower} flwr run . {fleet.name}")


def down(folder: Path, debug: bool) -> None:
    """End what `up` started. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.deploy import down as stop

        ended = stop(folder)
        talk(f"ended: {', '.join(ended)}" if ended else "nothing of this fleet was running")


def run(
    folder: Path, scenario: str, out: Path | None, sets: Sequence[str], retries: int, format: str, debug: bool
) -> None:
    """Run on a fleet and print the final figures. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.commands.running import tell
        from scenarios.deploy import run as execute
        from scenarios.progress import listener_for

        result = execute(folder, scenario, out=out, sets=sets, retries=retries, listener=listener_for(sys.stderr))
        assert result.folder is not None
        tell(result, result.folder, format)


def status(folder: Path, format: str, debug: bool) -> None:
    """Print how a fleet is. Raises: typer.Exit with code 4 where its SuperLink does not answer."""
    with explained(debug):
        from scenarios.deploy import status as look

        found = look(folder)
    typer.echo(json.dumps(asdict(found), indent=2) if format == "json" else "\n".join(_lines(found)))
    if not found.superlink:
        raise typer.Exit(Code.ENVIRONMENT)


def _lines(found: Status) -> Iterator[str]:
    pids = {one["role"]: one for one in found.processes}

    def process(role: str) -> str:
        if role not in pids:
            return ""
        return f"process {pids[role]['pid']}" if pids[role]["alive"] else f"process {pids[role]['pid']} died"

    yield f"superlink  {'answers' if found.superlink else 'does not answer':<16}{process('superlink')}".rstrip()
    for one in found.nodes:
        yield f"client {one['client']:<4}{one['status']:<16}{process('node-' + str(one['client']))}".rstrip()
    if (run := found.run) is not None:
        of = f" of {run['rounds']}" if run["rounds"] else ""
        yield f"run        {run['name']}: {run['status']}, {run['method'] or 'no method yet'}, round {run['round']}{of}"
        yield f"           {size(run['uplink_bytes'])} up, {size(run['downlink_bytes'])} down, {run['refused']} refused"
        yield f"           {run['folder']}"
        if run["error"]:
            yield f"           {run['error']}"
    for role, line in found.errors.items():
        yield f"last error of {role}: {line}"


def talk(words: str) -> None:
    typer.echo(words, err=True)
