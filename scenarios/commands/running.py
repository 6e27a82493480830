"""`fl-ef21 run`."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scenarios.chaos_text import sentence
from scenarios.commands.failures import Code, complain, explained
from scenarios.commands.table import final_figures

if TYPE_CHECKING:
    from scenarios.results import Result


def run(
    scenario: str, out: Path | None, sets: Sequence[str], runtime: str, format: str, debug: bool,
    trackers: Sequence[str] = (),
) -> None:  # fmt: skip
    """Run, print the final figures and where the report lies. Raises: typer.Exit with what went wrong."""
    with explained(debug):
        from scenarios.folder import folder_name, refuse_used
        from scenarios.loading import load
        from scenarios.progress import listener_for
        from scenarios.trackers import named

        resolved = load(scenario, sets)
        out = out or Path("runs") / f"{folder_name(resolved.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        refuse_used(out)
        told = [named(word) for word in trackers]
        sys.path.append(os.getcwd())  # a user's module and loss, in the workers too; last, so that it hides nothing
        listener = listener_for(sys.stderr)
        listener.message("starting")
        from scenarios import runner  # seconds of imports, so only after the scenario has been read

        command = again(scenario, sets, runtime)
        result = runner.run(
            resolved, out=out, runtime=runtime, listener=listener, command=command, trackers=told
        )  # fmt: skip
        tell(result, out, format)
        stopped(result.summary, out)


def stopped(summary: dict[str, Any], folder: Path) -> None:
    """Raises: typer.Exit where the run was stopped by Ctrl-C, or too few clients answered; says how to go on."""
    if summary["status"] == "interrupted":
        from scenarios.summary import no_quorum

        if why := no_quorum(summary):
            complain(f"{why}; what was measured until then is in {folder}; go on with: fl-ef21 resume {folder}")
            raise typer.Exit(Code.NO_QUORUM)
        complain(f"stopped by you; what was measured until then is in {folder}; go on with: fl-ef21 resume {folder}")
        raise typer.Exit(Code.STOPPED)


def tell(result: Result, out: Path, format: str) -> None:
    """Final figures on stdout."""
    page = out / "report.html"
    if format == "json":
        typer.echo(json.dumps({"folder": str(out), "report": str(page), **result.summary}, indent=2))
        return
    typer.echo(final_figures(result.summary["methods"]))
    if told := sentence(result.summary):
        typer.echo(f"\n{told}\nthe same again: {result.summary['command']}")
    typer.echo(f"\nreport: {page}")


def again(scenario: str, sets: Sequence[str], runtime: str) -> str:
    """The command that repeats this run."""
    words = ["fl-ef21", "run", scenario]
    for change in sets:
        words += ["--set", change]
    return shlex.join(words + (["--runtime", runtime] if runtime != "resident" else []))
