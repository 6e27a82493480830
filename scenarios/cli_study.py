"""`fl-ef21 study`. Signature only."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    text = "text"
    json = "json"


def study(
    what: Annotated[Path, typer.Argument(metavar="STUDY")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write, studies/NAME-TIME by default.", show_default=False)
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Change a key of the scenario it varies."),
    ] = None,
    parallel: Annotated[
        int | None,
        typer.Option(min=0, show_default=False, help="Trials side by side, one a core by default; 0: in this process."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although the code has changed.")] = False,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run a grid or a search over a scenario, with seeds as repetitions; write tables and a page.

    STUDY is a TOML file, a name that `fl-ef21 list studies` shows, or the folder of a study to go on with.
    """
    from scenarios.commands import studying

    studying.study(what, out, sets or [], parallel, force, format.value, debug)
