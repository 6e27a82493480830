"""`fl-ef21 deploy`: signatures only, as in cli.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, help="Run a scenario on real devices: keys, start scripts, a SuperLink and SuperNodes."
)

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
