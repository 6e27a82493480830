"""`fl-ef21 report`, `compare`, `trace` and `figures`: what is made of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from scenarios.commands.failures import explained


def report(folder: Path, debug: bool) -> None:
    """Write the page of one run again and print where it is."""
    with explained(debug):
        from scenarios import report as page
        from scenarios.results import Result

        Result.load(folder)  # says what is wrong with a folder that holds no run
        typer.echo(page.write(folder))


def compare(folders: Sequence[Path], out: Path, format: str, debug: bool) -> None:
    """Write one page over several runs; print their final figures and where the page is."""
    with explained(debug):
        from scenarios import compare as page
        from scenarios.commands.table import final_figures

        written = page.compare(list(folders), out)
        table = page.table(list(folders))
        if format == "json":
            typer.echo(table.to_json(orient="records", indent=2))
        else:
            typer.echo(final_figures(table.to_dict("records")))
            typer.echo(f"\npage: {written}")


def trace(folder: Path, out: Path | None, debug: bool) -> None:
    """Write the trace of a run and print where it is."""
    with explained(debug):
        from scenarios import trace as page
        from scenarios.results import Result

        Result.load(folder)
        typer.echo(page.write(folder, out))


def figures(folders: Sequence[Path], out: Path | None, format: str, width: str, only: str, debug: bool) -> None:
    """Write the figures of runs for a paper and print where they are."""
    with explained(debug):
        from scenarios import paper

        into = out or (folders[0] if len(folders) == 1 else Path()) / "figures"
        for path in paper.write(folders, into, format, width, only):
            typer.echo(path)
