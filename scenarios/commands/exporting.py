"""`fl-ef21 export`: final models in other formats."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import typer

from fl_ef21.errors import InputError
from scenarios.commands.failures import Code, complain, explained


def export(folder: Path, onnx: bool, method: str | None, format: str, debug: bool) -> None:
    """Print what was written. Raises: typer.Exit with code 5 where a file could not be."""
    with explained(debug):
        if not (folder / "scenario.toml").is_file():
            raise InputError("DIR", str(folder), "is not a run folder (it holds no scenario.toml)")
        sys.path.append(os.getcwd())  # where modules of one's own lie, as for `run`
        from scenarios import exporting

        done = exporting.export(folder, onnx=onnx, method=method)
        if format == "json":
            typer.echo(json.dumps([vars(one) | {"path": str(one.path)} for one in done], indent=2))
        for one in done:
            if one.why:
                complain(f"{one.method}: no {one.format}: {one.why}")
            elif format == "text":
                typer.echo(one.path)
        if any(one.why for one in done):
            raise typer.Exit(Code.FAILED)
