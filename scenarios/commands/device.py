"""`fl-ef21 node` and `fl-ef21 state`: what is done on a device."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from scenarios import units
from scenarios.commands.failures import explained


def node(options: Sequence[str], debug: bool) -> None:
    """Be a SuperNode until somebody ends it."""
    with explained(debug):
        from fl_ef21 import flower_node

        flower_node.run(options)


def state(folder: Path, keep: int | None, format: str, debug: bool) -> None:
    """Show what is kept, the last used first, after removing all but `keep` experiments."""
    with explained(debug):
        from fl_ef21 import shelf

        found = shelf.kept(folder)
        if keep is not None:
            gone = shelf.prune(folder, keep, idle=0.0)
            found = [one for one in found if one.experiment not in gone]
            typer.echo(f"removed {len(gone)} experiments", err=True)
        if format == "json":
            typer.echo(json.dumps([asdict(one) for one in found]))
            return
        for one in found:
            version = "damaged" if one.version is None else f"version {one.version}"
            age = units.seconds(max(0.0, time.time() - one.used))
            what = f"{one.experiment[:12]}  client {one.client}  {version}  {units.size(one.nbytes)}  {age} ago"
            typer.echo(what)
        typer.echo(f"{units.size(sum(one.nbytes for one in found))} in all")
