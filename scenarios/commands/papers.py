"""`fl-ef21 papers`."""

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

from scenarios.commands.failures import Code, complain, explained

if TYPE_CHECKING:
    from scenarios.papers.verdicts import Verdict


def papers(
    name: str | None, out: Path | None, data: Path | None, sets: Sequence[str], small: bool, parallel: int | None,
    force: bool, format: str, debug: bool,
) -> None:  # fmt: skip
    """List the gallery, or run one of it and say of every claim whether it came out."""
    with explained(debug):
        from scenarios.papers import reading

        if name is None:
            _listed(format)
            return
        folder = reading.find(name)
        out = out or Path("papers") / f"{folder.path.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        sys.path.append(os.getcwd())
        from scenarios.papers import conduct  # seconds of imports
        from scenarios.study.shown import shown_on

        verdicts = conduct.run(
            folder, out, sets=sets, data=data, small=small, parallel=parallel, force=force, shown=shown_on(sys.stderr)
        )
        if format == "json":
            typer.echo(json.dumps({"folder": str(out), "claims": conduct.told_of(verdicts)}, indent=2))
        else:
            typer.echo("\n".join(lines(verdicts)) + f"\n\nstudies: {out}")
        if missed := [v for v in verdicts if not v.holds]:
            complain(f"{len(missed)} of {len(verdicts)} claims did not come out")
            raise typer.Exit(Code.FAILED)


def lines(verdicts: Sequence[Verdict]) -> list[str]:
    """A line for each claim: whether it holds, what was measured with its interval, and what was claimed."""
    table = [("", "measured", "95 %", "claimed", "")]
    for v in verdicts:
        between = "" if math.isnan(v.measured.low) else f"{v.measured.low:.4g} to {v.measured.high:.4g}"
        bounds = [f">= {v.bounds.at_least:g}" if v.bounds.at_least is not None else "",
                  f"<= {v.bounds.at_most:g}" if v.bounds.at_most is not None else ""]  # fmt: skip
        held = "holds" if v.holds else "FAILS"
        table.append((held, f"{v.measured.mean:.4g}", between, ", ".join(filter(None, bounds)), v.claim.says))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]


def _listed(format: str) -> None:
    from scenarios.papers.reading import names

    known = names()
    if format == "json":
        typer.echo(json.dumps([{"name": k, "description": v} for k, v in known.items()], indent=2))
        return
    width = max(map(len, known), default=0)
    for name, title in known.items():
        typer.echo(f"{name:<{width}}  {title}")
