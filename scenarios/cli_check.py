"""`fl-ef21 check`. Signatures only; scenarios/cli.py lists it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    text = "text"
    json = "json"


def check(
    name: Annotated[str, typer.Argument()],
    like: Annotated[
        str | None, typer.Option(metavar="METHOD", show_default=False, help="A method that it equals under --set.")
    ] = None,
    oracle: Annotated[
        str | None,
        typer.Option(metavar="FILE.py[:NAME]", show_default=False, help="Its rule in NumPy, `rule` by default."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", show_default=False,
            help="Of a method: a key of the scenario it is checked in, such as method.hyper.beta=0.5.",
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:  # fmt: skip
    """Hold a method or a compressor to what every one promises; of a compressor, print its card too.

    NAME is "package.module:Class", or a name that `fl-ef21 list methods` or `list compressors` shows; a compressor's
    options follow a colon, such as topk:0.01 or mine:Ours:k=10. Exit code 5 where a promise is broken.
    """
    from scenarios.commands import checking

    checking.check(name, like, oracle, sets or [], format.value, debug)
