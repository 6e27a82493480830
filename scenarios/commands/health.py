"""`fl-ef21 doctor`: prints what `scenarios/doctor.py` finds."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import typer

from scenarios.commands.failures import Code
from scenarios.doctor import Finding, examine

COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failure": typer.colors.RED}


def show(format: str) -> None:
    """Print every finding. Raises: typer.Exit with code 4 where one is a failure."""
    findings = examine()
    if format == "json":
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _line(finding)
    if any(finding.status == "failure" for finding in findings):
        raise typer.Exit(Code.ENVIRONMENT)


def _line(finding: Finding) -> None:
    colour = None if os.environ.get("NO_COLOR") else COLOURS[finding.status]
    typer.secho(f"{finding.status:<8}", fg=colour, nl=False)
    typer.echo(f"{finding.name:<17}{finding.what}")
    if finding.status != "ok":
        typer.echo(f"{'':<8}{'':<17}why: {finding.why}\n{'':<8}{'':<17}fix: {finding.fix}")
