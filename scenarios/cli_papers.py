"""`fl-ef21 papers`. Signature only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scenarios.cli_study import Format


def papers(
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write or go on in, papers/NAME-TIME by default.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds mnist, libsvm and so on.", show_default=False)
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Change a key of its scenarios."),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="On its reduced size, with the claims made for that.")] = False,
    parallel: Annotated[
        int | None,
        typer.Option(min=0, show_default=False, help="Trials side by side, one a core by default; 0: in this process."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although the code has changed.")] = False,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Reproduce a published figure or table and check what it must show; without NAME list those there are.

    Ends with exit code 5 where a claim does not come out.
    """
    from scenarios.commands import papers as command

    command.papers(name, out, data, sets or [], small, parallel, force, format.value, debug)
