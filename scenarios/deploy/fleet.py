"""`fl-ef21 deploy up` and `down`: a fleet on this machine, for trying out, or the SuperLink alone."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fl_ef21.errors import InputError
from scenarios.deploy import flower, private, processes
from scenarios.deploy.flower import FlowerSaid
from scenarios.deploy.layout import Fleet
from scenarios.deploy.processes import Process
from scenarios.deploy.scripts import connection
from scenarios.folder import alone

LOCAL = "127.0.0.1"
Say = Callable[[str], None]


class UpFailed(RuntimeError):
    """The fleet could not be brought up; what was started is still noted, `down` ends it."""


def up(
    folder: Path, nodes: int | None = None, *, plain: bool = False, listen: str = LOCAL, patience: float = 120.0,
    say: Say = lambda words: None,
) -> Fleet:  # fmt: skip
    """Start what is not running yet: the SuperLink, and the devices 0 to `nodes` - 1 on this machine.

    nodes: all by default; 0 is the SuperLink alone. plain: Flower's own SuperNode. listen: address that the
    SuperLink is reached under. patience: seconds until devices must be online.
    Raises: InputError for what cannot work, UpFailed with the end of a log.
    """
    fleet = Fleet.load(folder)
    count = fleet.nodes if nodes is None else nodes
    if not 0 <= count <= fleet.nodes:
        raise InputError("nodes", count, f"this fleet has keys for {fleet.nodes} devices")
    with alone(fleet.folder):
        running = {one.role: one for one in processes.load(fleet.processes) if one.alive}
        private.replace(fleet.flower / "config.toml", connection(fleet))  # again: it may have moved
        if "superlink" not in running and not speaks(fleet):
            _superlink(fleet, running, listen, say)
        known = _register(fleet, say)
        for client in range(count):
            if f"node-{client}" not in running:
                _start(fleet, running, f"node-{client}", {"SUPERLINK": f"{LOCAL}:{fleet.port}"} | _program(plain))
        _online(fleet, running, known, count, patience, say)
    return fleet


def down(folder: Path, *, patience: float = 15.0) -> list[str]:
    """End what `up` started and nothing else; the roles that were running."""
    fleet = Fleet.load(folder)
    with alone(fleet.folder):
        noted = processes.load(fleet.processes)
        devices = [one for one in noted if one.role != "superlink"]  # first: they say goodbye to it
        ended = processes.end(devices, patience)
        ended += processes.end([one for one in noted if one.role == "superlink"], patience)
        fleet.processes.unlink(missing_ok=True)
    return [one.role for one in ended]


def revive(folder: Path, patience: float = 120.0, say: Say = lambda words: None) -> None:
    """A SuperLink that died: start it again if `up` had started it, else wait for whoever does.

    Raises: UpFailed where it does not come within `patience` seconds.
    """
    fleet, deadline = Fleet.load(folder), time.monotonic() + patience
    if speaks(fleet):
        return
    with alone(fleet.folder):
        noted = {one.role: one for one in processes.load(fleet.processes)}
        dead = noted.get("superlink")
        if dead is not None:
            say("starting the SuperLink again")
            processes.end([dead], 5.0)
            _wait_for(fleet, _start(fleet, noted, "superlink", dead.settings))
            return
    say("waiting for the SuperLink")
    while not speaks(fleet):
        if time.monotonic() > deadline:
            raise UpFailed(f"the SuperLink at port {fleet.port} did not come back within {patience:g} s")
        time.sleep(1.0)


def speaks(fleet: Fleet, patience: float = 2.0) -> bool:
    """Whether this fleet's SuperLink answers on this machine: who does has its certificate.

    Raises: InputError where something else listens there.
    """
    trusted = ssl.create_default_context(cafile=str(fleet.superlink / "ca.crt"))
    try:
        with socket.create_connection((LOCAL, fleet.port), patience) as raw:
            trusted.wrap_socket(raw, server_hostname=LOCAL).close()
        return True
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # it is just ending
        return False
    except ssl.SSLError as error:
        raise InputError("port", fleet.port, f"another program listens there ({error.reason}); end it") from error
    except OSError:
        return False


def _superlink(fleet: Fleet, running: dict[str, Process], listen: str, say: Say) -> None:
    say("starting the SuperLink")
    _wait_for(
        fleet,
        _start(fleet, running, "superlink", {"LISTEN": listen, "SUPERLINK_PROGRAM": _python("fl_ef21.flower_gate")}),
    )


def _wait_for(fleet: Fleet, started: Process) -> None:
    """Until the SuperLink answers. Raises: UpFailed."""
    deadline = time.monotonic() + 60
    while not speaks(fleet):
        if not started.alive or time.monotonic() > deadline:
            raise UpFailed(f"the SuperLink did not start; {_end_of(fleet, 'superlink')}")
        time.sleep(0.2)


def _start(fleet: Fleet, running: dict[str, Process], role: str, settings: dict[str, str]) -> Process:
    home = fleet.home(role)
    started = Process.start(role, home, fleet.log(role), flower.environment(), settings)
    running[role] = started
    processes.note(fleet.processes, running.values())
    return started


def _python(module: str) -> str:
    """A program of ours for a start script, from these sources; its folder is the first of PATH."""
    return f"{Path(sys.executable).name} -m {module}"


def _program(plain: bool) -> dict[str, str]:
    """What a device's start.sh starts. Flower's own SuperNode needs a port of its own for its ClientApps."""
    if not plain:
        return {"NODE_PROGRAM": f"{_python('scenarios.cli')} node"}
    with socket.create_server((LOCAL, 0)) as free:
        return {"NODE_PROGRAM": "flower-supernode", "NODE_PORT": str(free.getsockname()[1])}


def _register(fleet: Fleet, say: Say) -> dict[int, str]:
    """Every client's node id at the SuperLink; keys that it does not know yet are told to it."""
    noted: dict[str, str] = {}
    with suppress(OSError, ValueError):
        noted = json.loads(fleet.registered.read_text())
    there = _patiently(lambda: flower.nodes(fleet))
    missing = [client for client in range(fleet.nodes) if noted.get(str(client)) not in there]
    if missing:
        say(f"registering {len(missing)} device keys")
        with ThreadPoolExecutor(2) as pool:
            noted |= zip(map(str, missing), pool.map(lambda one: flower.register(fleet, one), missing), strict=True)
        private.replace(fleet.registered, json.dumps(noted, indent=1) + "\n")
    return {int(client): node for client, node in noted.items()}


def _online(
    fleet: Fleet, running: dict[str, Process], known: dict[int, str], count: int, patience: float, say: Say
) -> None:
    deadline = time.monotonic() + patience
    while count:
        states = flower.nodes(fleet)
        away = [client for client in range(count) if states.get(known[client]) != "online"]
        if not away:
            return
        for client in away:
            role = f"node-{client}"
            if not running[role].alive or time.monotonic() > deadline:
                raise UpFailed(f"client {client} did not come online; {_end_of(fleet, role)}")
        say(f"waiting for {len(away)} of {count} devices")
        time.sleep(0.5)


def _patiently(ask: Callable[[], dict[str, str]], patience: float = 30.0) -> dict[str, str]:
    """Ask a SuperLink that has just begun to listen."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return ask()
        except FlowerSaid as error:
            if time.monotonic() > deadline:
                raise UpFailed(str(error)) from error
            time.sleep(0.5)


def _end_of(fleet: Fleet, role: str, lines: int = 12) -> str:
    """Where its log is, and what it said last."""
    path = fleet.log(role)
    told = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
    return f"{path} ends with:\n" + "\n".join(told)
