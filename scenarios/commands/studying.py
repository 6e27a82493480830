"""`fl-ef21 study`."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fl_ef21.errors import InputError
from scenarios.commands.failures import complain, explained

if TYPE_CHECKING:
    from scenarios.study.results import Results


def study(
    what: Path, out: Path | None, sets: Sequence[str], parallel: int | None, force: bool, format: str, debug: bool
) -> None:
    """Run a study or go on with one; print its table and where its page lies."""
    with explained(debug):
        from scenarios.folder import folder_name
        from scenarios.study.reading import read
        from scenarios.study.shown import shown_on

        shown = shown_on(sys.stderr)
        if what.is_dir():
            _refuse(what, out, sets)
            source, out = None, what
        else:
            source = read(what, sets)
            out = out or Path("studies") / f"{folder_name(source.study.name)}-{time.strftime('%Y%m%d-%H%M%S')}"
        sys.path.append(os.getcwd())  # a user's module, in the workers too
        shown.message("starting")
        from scenarios.study import conduct  # seconds of imports, so only after the study has been read

        if source is None:
            found = conduct.resume(out, parallel=parallel, force=force, shown=shown)
        else:
            found = conduct.run(source, out, parallel=parallel, shown=shown)
        tell(found, out, format)


def _refuse(folder: Path, out: Path | None, sets: Sequence[str]) -> None:
    """Raises: InputError for what has no meaning where a study goes on."""
    if out is not None:
        raise InputError("--out", str(out), f"has no meaning where the study in {folder} goes on; remove it")
    if sets:
        raise InputError("--set", sets[0], f"the study in {folder} has begun; start another one in a new folder")


def tell(found: Results, out: Path, format: str) -> None:
    """The table on stdout, warnings on stderr."""
    from scenarios.study import results

    page = out / results.PAGE
    if format == "json":
        typer.echo(json.dumps({"folder": str(out), "page": str(page), **found.summary()}, indent=2))
        return
    typer.echo("\n".join(lines(found)))
    for warning in found.warnings:
        complain(warning)
    typer.echo(f"\npage: {page}\ntable: {out / results.TABLE}")


def lines(found: Results) -> list[str]:
    """A line for each method and setting: the objective with its interval, bytes, and a star on the front."""
    from scenarios.study import drawing
    from scenarios.units import size

    objective: str = found.study.objective
    table = [("setting", "method", objective, "95 %", "uplink", "gamma", "")]
    for row in found.rows:
        mean, paid = row.means[objective], row.means.get("uplink_bytes")
        between = (
            ""
            if math.isnan(mean.low)
            else f"{drawing.read(objective, mean.low)} to {drawing.read(objective, mean.high)}"
        )
        table.append((
            row.arm.where, row.arm.name, drawing.read(objective, mean.mean), between,
            size(paid.mean if paid else None), f"{row.best.candidate.trials[0].gamma:g}", "*" if row.front else "",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
