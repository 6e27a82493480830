"""`fl-ef21 deploy run`: hands a scenario to a fleet, follows its run, and goes on with it where a process died."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import tomlkit

from fl_ef21.errors import InputError
from scenarios.deploy import flower, private
from scenarios.deploy.fleet import revive, speaks
from scenarios.deploy.flower import ROOT
from scenarios.deploy.following import FAILED, STOPPED, Following, RunEnded, stop
from scenarios.deploy.layout import Fleet
from scenarios.ended import NAME as FAILURE
from scenarios.folder import folder_name, refuse_used
from scenarios.loading import load, to_toml
from scenarios.progress import Listener, Silent
from scenarios.results import Result
from scenarios.run_file import NAME as RUN_FILE
from scenarios.schema import Scenario
from scenarios.told import NAME as PROGRESS

PACKAGES = ("fl_ef21", "strategies", "clients", "scenarios")
GOES_ON = (FAILED, 6, STOPPED, 8)  # exit codes after which a run may go on: 6 is a full disk, 8 no quorum


def run(
    folder: Path, scenario: str | Path, *, out: Path | None = None, sets: Sequence[str] = (), retries: int = 3,
    listener: Listener | None = None,
) -> Result:  # fmt: skip
    """Run a scenario on a fleet whose SuperLink is on this machine, and wait for its end.

    out: run folder, superlink/runs/NAME-TIME by default; that of an unfinished run goes on. retries: how often in
    a row it is submitted again where the ServerApp or the SuperLink died before it got any further.
    Raises: InputError for what cannot work, before anything is submitted; RunEnded for every end but a finished run.
    """
    fleet, listener = Fleet.load(folder), listener or Silent()
    resolved = _scenario(fleet, scenario, sets)
    name = f"{folder_name(resolved.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
    out = (out or fleet.runs / name).absolute()
    if not (out / RUN_FILE).exists():
        refuse_used(out)
    if not speaks(fleet):
        advice = f"no SuperLink of this fleet answers at port {fleet.port}; fl-ef21 deploy up {folder}"
        raise InputError("DIR", str(folder), advice)
    with _folder(out):
        return _run(fleet, resolved, out, retries, listener)


def _run(fleet: Fleet, resolved: Scenario, out: Path, retries: int, listener: Listener) -> Result:
    tries, before = 0, -1
    while True:
        for old in (FAILURE, PROGRESS):
            (out / old).unlink(missing_ok=True)
        following = Following(fleet, out, listener)  # first: it must know what was there before
        ended = following.until_the_end(number := submit(fleet, resolved, out))
        if ended is None:
            return Result.load(out)
        if not ended.lost:
            raise RunEnded(ended.code, f"{ended.words}; {following.again}" if ended.code in GOES_ON else ended.words)
        tries, before = (tries + 1, before) if following.round <= before else (1, following.round)
        if tries > retries:
            raise RunEnded(FAILED, f"{ended.words}; submitted again {retries} times in vain (the run is in {out})")
        listener.message(f"{ended.words}; going on")
        following.bury()
        revive(fleet.folder, say=listener.message)
        stop(fleet, number)  # else devices still answer what it had asked


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """There while this goes on, for the ServerApp to note an early end in; gone again if no run began in it."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        if not (out / RUN_FILE).exists():
            (out / FAILURE).unlink(missing_ok=True)
            with suppress(OSError):  # something of the user's is in it
                out.rmdir()


def submit(fleet: Fleet, scenario: Scenario, out: Path) -> str:
    """Hand the scenario to the SuperLink; Flower's id of the run. Raises: FlowerSaid."""
    with tempfile.TemporaryDirectory(prefix="fl-ef21-app-") as scratch:
        app, config = Path(scratch) / "fl-ef21", Path(scratch) / "run.toml"
        _project(app)
        settings = {"scenario": to_toml(scenario), "out": str(out)} | _keys(fleet)
        config.write_text(tomlkit.dumps(settings))
        told = flower.flwr(fleet, "run", str(app), fleet.name, "--run-config", str(config))
    run = str(told["run-id"])
    private.replace(fleet.submitted, json.dumps({"run": run, "out": str(out)}) + "\n")
    return run


def _keys(fleet: Fleet) -> dict[str, str]:
    """The server signs, and takes only what devices have signed."""
    return {"message-keys": str(fleet.message_keys)} if fleet.message_keys.is_dir() else {}


def _scenario(fleet: Fleet, scenario: str | Path, sets: Sequence[str]) -> Scenario:
    """As it is submitted: durable, since a server that dies must go on, unless `sets` say otherwise."""
    asked = (
        [*sets] if any(one.partition("=")[0].strip() == "durability" for one in sets) else ["durability=disk", *sets]
    )
    resolved = load(scenario, asked)
    needed = resolved.train.start_clients or resolved.partition.clients
    if needed > fleet.nodes:
        advice = f"this fleet has {fleet.nodes} devices; --set partition.clients={fleet.nodes} deals to as many"
        raise InputError("partition.clients", resolved.partition.clients, advice)
    return resolved


def _project(to: Path) -> None:
    """A copy of this project that `flwr` takes: it refuses folders by their names, and reads all that is in them."""
    if not (ROOT / "pyproject.toml").is_file():
        raise InputError("fl-ef21", str(ROOT), "holds no pyproject.toml: submit from a clone of the project")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        with suppress(FileNotFoundError):
            shutil.copy(ROOT / name, to / name)
