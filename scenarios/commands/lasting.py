"""`fl-ef21 resume`, `verify` and `audit`: runs that outlast their process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fl_ef21.errors import InputError
from scenarios.commands.failures import Code, complain, explained
from scenarios.commands.running import stopped, tell

if TYPE_CHECKING:
    from scenarios.checks import Check


def resume(
    folder: Path, sets: Sequence[str], force: bool, format: str, debug: bool, trackers: Sequence[str] = ()
) -> None:
    """Go on, print the final figures and where the report lies. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.progress import listener_for
        from scenarios.trackers import named

        _there(folder)
        told = [named(word) for word in trackers]
        sys.path.append(os.getcwd())  # as `run` does
        listener = listener_for(sys.stderr)
        listener.message("starting")
        from scenarios import runner

        result = runner.resume(folder, overrides=sets, force=force, listener=listener, trackers=told)
        tell(result, folder, format)
        stopped(result.summary, folder)


def verify(folder: Path, rounds: int, seed: int | None, format: str, debug: bool) -> None:
    """Print what was recomputed. Raises: typer.Exit with code 5 where something differs."""
    with explained(debug):
        if rounds < 1:
            raise InputError("--rounds", rounds, "must be at least 1")
        _there(folder)
        sys.path.append(os.getcwd())
        from scenarios import verifying

        _show(verifying.verify(folder, rounds, seed), format)


def audit(folder: Path, format: str, debug: bool) -> None:
    """Print what the ledger says. Raises: typer.Exit with code 5 where the invariant does not hold."""
    with explained(debug):
        _there(folder)
        sys.path.append(os.getcwd())
        from scenarios import auditing

        _show(auditing.audit(folder), format)


def _there(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError("DIR", str(folder), "there is no such folder; name that of a run")


def _show(checks: Sequence[Check], format: str) -> None:
    if format == "json":
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        widths = [max(len(str(value)) for value in column) for column in zip(*(_cells(c) for c in checks), strict=True)]
        for check in checks:
            line = "  ".join(f"{cell:<{width}}" for cell, width in zip(_cells(check), widths, strict=True))
            typer.echo(line.rstrip())
    wrong = [check for check in checks if not check.good]
    if wrong:
        complain(f"{len(wrong)} of {len(checks)} checks failed, the first: {wrong[0].method}: {wrong[0].told}")
        raise typer.Exit(Code.FAILED)


def _cells(check: Check) -> tuple[str, str, str, str]:
    return "ok" if check.good else "WRONG", check.method, check.what, check.told
