"""`fl-ef21 trace` and `fl-ef21 figures`. Signatures only; scenarios/cli.py lists them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Picture(StrEnum):
    pdf = "pdf"
    svg = "svg"
    png = "png"


class Width(StrEnum):
    single = "single"
    double = "double"


def trace(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    out: Annotated[
        Path | None, typer.Option(help="The file, DIR/trace.json by default; compressed with .gz.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Write what clients did on the virtual clock as a trace for ui.perfetto.dev.

    DIR is the run folder of a simulation with [devices].
    """
    from scenarios.commands import reading

    reading.trace(folder, out, debug)


def figures(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    out: Annotated[
        Path | None,
        typer.Option(help="The folder to write to; else DIR/figures, of several runs ./figures.", show_default=False),
    ] = None,
    format: Annotated[Picture, typer.Option("--format", help="Of the files.")] = Picture.pdf,
    width: Annotated[Width, typer.Option(help="Of a column of 85 mm, or of two.")] = Width.single,
    only: Annotated[str, typer.Option(metavar="PATTERN", help="Names to draw, such as 'test_accuracy-*'.")] = "*",
    debug: Debug = False,
) -> None:
    """Draw figures of one or several runs for a paper, one a file; needs pip install 'fl-ef21[pdf]'.

    DIR is a run folder.
    """
    from scenarios.commands import reading

    reading.figures(folders, out, format.value, width.value, only, debug)
