"""`fl-ef21 devices`: profiles of devices, those that come with us and from measurements. Signatures only."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Profiles of devices for [devices] of a scenario.")

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Out = Annotated[Path, typer.Option(help="The profile to write, TOML.")]


class Format(StrEnum):
    text = "text"
    json = "json"


AsFormat = Annotated[Format, typer.Option("--format", help="What is printed on stdout.")]


@app.command("list")
def list_(format: AsFormat = Format.text) -> None:
    """The profiles that come with fl-ef21, as `fl-ef21 list profiles`."""
    from scenarios.commands import catalogue

    catalogue.show("profiles", format.value)


@app.command()
def show(
    profile: Annotated[str, typer.Argument(metavar="NAME", help="A name that `list` shows, or a TOML file.")],
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """What a profile deals to clients: classes, quantiles, power, and what its numbers rest on."""
    from scenarios.commands import profiles

    profiles.show(profile, format.value, debug)


@app.command()
def fit(file: Annotated[Path, typer.Argument(metavar="FILE.csv")], out: Out, debug: Debug = False) -> None:
    """Make a profile from your own measurements.

    FILE.csv has the columns device, kind, bytes, seconds and, if you like, class; docs/devices.md lists the kinds.
    """
    from scenarios.commands import devices

    devices.fit(file, out, debug)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def record(
    context: typer.Context,
    out: Out,
    minutes: Annotated[
        float | None, typer.Option("--for", metavar="MINUTES", min=0, help="End after so long.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the device, its host's name by default.")] = None,
    kind: Annotated[str, typer.Option("--class", help="A word for devices of this sort.")] = "device",
    local_steps: Annotated[int, typer.Option(min=1, help="train.local_steps of the scenario it takes part in.")] = 1,
    debug: Debug = False,
) -> None:
    """Be this device's node, as `fl-ef21 node` is, and measure while it works.

    All other options are those of `fl-ef21 node`.
    """
    from scenarios.commands import devices

    devices.record(out, minutes, name, kind, local_steps, list(context.args), debug)
