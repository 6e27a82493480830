"""`fl-ef21 theory`. The signature only; scenarios/cli.py lists it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Format(StrEnum):
    text = "text"
    json = "json"


def theory(
    scenario: Annotated[str, typer.Argument()],
    eps: Annotated[
        float | None,
        typer.Option(help="The |grad f| that is wanted; else a tenth of that at the start.", show_default=False),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Change a key, as `fl-ef21 run` does."),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Say what theory knows of a scenario: smoothness, noise, the step sizes that theorems allow, predicted rounds.

    SCENARIO is a TOML file, a run folder, or a name that `fl-ef21 list scenarios` shows.
    """
    from scenarios.commands import theorems

    theorems.show(scenario, eps, sets or [], format.value, debug)
