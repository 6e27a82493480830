"""`fl-ef21 run-app`: somebody's Flower app on the resident engine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fl_ef21.errors import InputError
from scenarios.commands.failures import Code, complain, explained

if TYPE_CHECKING:
    from scenarios.foreign import Answers


def run_app(
    path: Path, clients: int | None, actors: int | None, cpus: float, gpus: float, changes: Sequence[str], debug: bool
) -> None:
    """Run, then tell what it took. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.app_folder import AppFolder

        folder = AppFolder.read(path)
        run_config = folder.run_config(changes)
        clients = _clients(folder.clients if clients is None else clients)
        actors = _actors(actors, clients)
        _resources(cpus, gpus)
        from fl_ef21.engine import Settings  # seconds of imports, so only after all this has been read
        from scenarios import foreign

        try:
            app = foreign.load(folder, run_config)
        except foreign.PackageMissing as missing:
            complain(str(missing))
            raise typer.Exit(Code.ENVIRONMENT) from missing
        where = f"{actors} actors" if actors else "this process"
        typer.echo(f"{folder.path.name}: {clients:,} clients in {where}", err=True)
        tell(app.run(clients, Settings(actors, cpus, gpus)))


def tell(answers: Answers) -> None:
    """One line on stdout, and one about clients that failed on stderr."""
    rate = answers.answered / max(answers.seconds, 1e-9)
    typer.echo(f"{answers.seconds:,.1f} s, {answers.answered:,} client messages answered, {rate:,.0f} a second")
    if answers.failed:
        complain(f"{answers.failed:,} of them with an error, the first from {answers.reason}")


def _clients(clients: int) -> int:
    if clients < 1:
        raise InputError("--clients", clients, "must be at least 1")
    return clients


def _actors(actors: int | None, clients: int) -> int:
    if actors is None:
        return min(os.cpu_count() or 1, clients)
    if actors < 0:
        raise InputError("--actors", actors, "must be at least 0, which computes in this process")
    if actors > clients:
        raise InputError("--actors", actors, f"the app has {clients} clients here; more actors would stay idle")
    return actors


def _resources(cpus: float, gpus: float) -> None:
    for name, value in (("--cpus-per-actor", cpus), ("--gpus-per-actor", gpus)):
        if not 0 <= value < float("inf") or (name == "--cpus-per-actor" and value == 0):
            raise InputError(name, value, "must be a positive number" + (" or 0" if "gpus" in name else ""))
