"""Ray on this machine, or a cluster that runs already: joined, never started elsewhere and never stopped."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from fl_ef21.engine.placement import Node
from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError

SECONDS = 3.0  # within which an address must answer
OURS = ("fl_ef21", "clients", "strategies", "scenarios")
NO_EVENTS = {"task_events_report_interval_ms": 0}  # else Ray keeps 3 KiB of every call, for a dashboard nobody has
START = "`ray start --head` on one machine and `ray start --address=HOST:PORT` on the others"


def connect(settings: Settings) -> bool:
    """Ray for these settings; True if this process was connected here and must be disconnected.

    A local Ray counts as many CPUs as the actors want: more actors than cores are slow, not wrong.
    Raises: InputError where Ray is not installed, the address does not answer, or what answers does not fit.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        advice = "needs Ray: pip install 'fl-ef21[sim]', or use 0"
        raise InputError("engine.actors", settings.actors, advice) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address is not None:
        return _join(settings.address, quiet)
    if ray.is_initialized():
        return False
    cores = max(os.cpu_count() or 1, math.ceil((settings.actors or 1) * settings.cpus_per_actor))
    # "local": without it Ray would silently join a cluster that somebody started on this machine
    ray.init(address="local", num_cpus=cores, include_dashboard=False, _system_config=NO_EVENTS, **quiet)
    return True


def _join(address: str, quiet: dict[str, Any]) -> bool:
    import ray

    if ray.is_initialized():
        joined = str(ray.get_runtime_context().gcs_address)
        if address != "auto" and "://" not in address and _resolved(address) != joined:
            raise InputError("engine.address", address, f"this process has joined {joined} already")
        return False
    where = find(address)
    if not answers(where.removeprefix("ray://")):
        raise InputError("engine.address", address, f"no Ray answers there; start one: {START}")
    environment = {"py_modules": [str(path) for path in modules(sys.modules)], "excludes": ["__pycache__", "*.pyc"]}
    try:
        ray.init(address=where, runtime_env=environment, **quiet)
    except Exception as error:  # Ray raises all kinds
        raise InputError("engine.address", address, refusal(str(error), where)) from error
    return True


def refusal(told: str, where: str) -> str:
    """What a person can do about Ray's own words."""
    if "ersion mismatch" in told or "ersions do not match" in told:
        theirs, ours = (re.findall(rf"{what}: *([\w.+]+)", told) + ["?", "?"] for what in ("Ray", "Python"))
        return (
            f"the cluster runs Ray {theirs[0]} on Python {ours[0]}, this process Ray {theirs[1]} on Python {ours[1]}; "
            "install the same versions on every machine"
        )
    if "Starting Ray client server failed" in told:
        return "Ray could not start its helper for this client, which happens to the first one; try once more"
    told = " ".join(told.split())
    if not where.startswith("ray://"):
        told += f"; is this machine a node of the cluster? `ray start --address={where}` makes it one"
    return f"joining failed: {told}"


def find(address: str) -> str:
    """The address itself, "auto" replaced. Raises: InputError where there is no cluster on this machine."""
    if address != "auto":
        return address
    from ray._private.services import canonicalize_bootstrap_address

    try:
        found = canonicalize_bootstrap_address("auto")
    except ConnectionError as error:
        raise InputError("engine.address", address, f"no Ray cluster runs here; start one: {START}") from error
    return str(found)


def _resolved(address: str) -> str:
    from ray._private.services import canonicalize_bootstrap_address

    return str(canonicalize_bootstrap_address(address))


def answers(address: str, seconds: float = SECONDS) -> bool:
    """Whether something at host:port speaks HTTP/2, as gRPC and so Ray does. `ray.init` would wait a minute."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=seconds) as s:
            if os.environ.get("RAY_USE_TLS") in ("1", "true"):
                return True
            s.settimeout(seconds)
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            return s.recv(9)[3:4] == b"\x04"  # its SETTINGS frame
    except (OSError, OverflowError):
        return False


def modules(loaded: dict[str, ModuleType]) -> list[Path]:
    """Folders and files that other nodes need: our packages, and what was imported but is not installed,
    such as a model's module in the current folder."""
    found = set()
    for name in {full.partition(".")[0] for full in loaded} - {"__main__"}:
        paths = list(getattr(loaded.get(name), "__path__", None) or [getattr(loaded.get(name), "__file__", None)])
        if len(paths) != 1 or not paths[0]:
            continue
        path = Path(paths[0]).resolve()
        importable = path.stem == name and (path.is_dir() or path.suffix == ".py")
        if importable and (name in OURS or not _installed(path)):
            found.add(path)
    return sorted(found)


def _installed(path: Path) -> bool:
    libraries = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    inside = any(path.is_relative_to(library) for library in libraries)
    return inside or not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or not _on_path(path.parent)


def _on_path(folder: Path) -> bool:
    return any(Path(entry).resolve() == folder for entry in sys.path)


def lives(node: dict[str, Any]) -> bool:
    """Whether a node of `ray.nodes()` is there: Ray knows of a death some seconds later, a port closes at once."""
    from ray.util.client import ray as outside

    if not node["Alive"] or outside.is_connected():  # type: ignore[no-untyped-call]  # through ray://, none is in reach
        return bool(node["Alive"])
    try:
        socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), timeout=1.0).close()
    except OSError:
        return False
    return True


def nodes(found: Iterable[dict[str, Any]]) -> list[Node]:
    """What the nodes of `ray.nodes()` have, those that have died left out."""
    has = [(str(one["NodeManagerAddress"]), one["Resources"]) for one in found if one["Alive"]]
    return [Node(name, float(what.get("CPU", 0)), float(what.get("GPU", 0))) for name, what in has]


def present() -> list[Node]:
    """The nodes of the cluster that this process has joined."""
    import ray

    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes([one for one in found if lives(one)])
