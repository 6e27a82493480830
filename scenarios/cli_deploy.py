"""`fl-ef21 deploy`: signatures only, as in cli.py."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Run a scenario on real devices: keys, start scripts, a SuperLink and SuperNodes."
)


class Format(StrEnum):
    text = "text"
    json = "json"


Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR")]


@app.command()
def init(
    folder: Folder,
    nodes: Annotated[int, typer.Option(help="Devices to make keys and folders for; spare ones do no harm.")],
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host", metavar="NAME_OR_IP", show_default=False,
            help="Where devices reach the server; repeatable, they are told the first. 127.0.0.1 by default.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Of the SuperLink.")] = 8000,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Make all that a small fleet needs in DIR: a CA, certificates, keys, start scripts, systemd units.

    DIR must not be there yet.
    """
    from scenarios.commands import deploying

    deploying.init(folder, nodes, hosts or [], port, debug)


@app.command()
def up(
    folder: Folder,
    nodes: Annotated[
        int | None, typer.Option(help="Devices to start on this machine; all, 0: the server alone.", show_default=False)
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Flower's own SuperNode instead of `fl-ef21 node`.")] = False,
    listen: Annotated[
        str, typer.Option(metavar="IP", help="Address to listen on; 0.0.0.0 lets devices elsewhere in.")
    ] = "127.0.0.1",
    patience: Annotated[float, typer.Option(help="Seconds until the devices must be online.")] = 120.0,
    debug: Debug = False,
) -> None:
    """Start the SuperLink and the devices on this machine, for trying out; what runs already stays.

    DIR is a folder that `init` made.
    """
    from scenarios.commands import deploying

    deploying.up(folder, nodes, plain, listen, patience, debug)


@app.command()
def down(folder: Folder, debug: Debug = False) -> None:
    """End what `up` started, and nothing else."""
    from scenarios.commands import deploying

    deploying.down(folder, debug)


@app.command()
def run(
    folder: Folder,
    scenario: Annotated[str, typer.Argument()],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Run folder, DIR/superlink/runs/NAME-TIME by default; an unfinished one goes on.", show_default=False
        ),
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="As for `fl-ef21 run`.")
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            help="How often in a row the run is submitted again after the server died without getting further."
        ),
    ] = 3,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Debug = False,
) -> None:
    """Run a scenario on the fleet, from the machine of its SuperLink, and follow it to its end.

    SCENARIO is a TOML file, a run folder, or a name that `fl-ef21 list scenarios` shows. Exit codes are those of
    `fl-ef21 run`.
    """
    from scenarios.commands import deploying

    deploying.run(folder, scenario, out, sets or [], retries, format.value, debug)


@app.command()
def status(
    folder: Folder,
    format: Annotated[Format, typer.Option("--format", help="What is printed on stdout.")] = Format.text,
    debug: Debug = False,
) -> None:
    """Show processes, devices, the last run, and the last errors. Exit code 4 where the SuperLink does not answer."""
    from scenarios.commands import deploying

    deploying.status(folder, format.value, debug)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def superlink(context: typer.Context) -> None:
    """Flower's SuperLink, taking its options, but that other machines reach its interface for devices alone.

    What start.sh starts on the server.
    """
    from fl_ef21.flower_gate import serve

    serve(context.args)
