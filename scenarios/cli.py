"""The command line, `fl-ef21`. Signatures only: what a command needs is imported when it runs.

stdout is data, stderr is talk. Exit codes are in scenarios/commands/failures.py.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scenarios import cli_check, cli_deploy, cli_devices, cli_papers, cli_pictures, cli_study, cli_theory
from scenarios.cli_options import Trackers

# arguments are explained in docstrings: click 8.5 drops the help of Typer's arguments
app = typer.Typer(
    name="fl-ef21", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Simulate federated learning with compressed, error-fed-back messages.",
    epilog="Exit codes: 0 done, 2 usage, 3 wrong scenario or input, 4 environment, 5 run or check failed, "
           "6 disk full, 7 stopped, 8 paused as too few clients answered.",
)  # fmt: skip
app.add_typer(cli_deploy.app, name="deploy")
app.add_typer(cli_devices.app, name="devices")
app.command()(cli_study.study)
app.command()(cli_papers.papers)
app.command()(cli_check.check)
app.command()(cli_theory.theory)


class Format(StrEnum):
    text = "text"
    json = "json"


class Runtime(StrEnum):
    resident = "resident"
    flower = "flower"


class Kind(StrEnum):
    methods = "methods"
    compressors = "compressors"
    models = "models"
    data = "data"
    scenarios = "scenarios"
    studies = "studies"
    profiles = "profiles"


AsFormat = Annotated[Format, typer.Option("--format", help="What is printed on stdout.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _version(wanted: bool) -> None:
    if wanted:
        from fl_ef21 import __version__

        typer.echo(f"fl-ef21 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")  # a simulation tells nobody that it runs
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@app.command()
def run(
    scenario: Annotated[str, typer.Argument()],
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write, runs/NAME-TIME by default.", show_default=False)
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", show_default=False,
            help="Change a key: train.batch_size=8, method.0.gamma=0.1, or method.gamma=0.1 for all methods.",
        ),
    ] = None,
    runtime: Annotated[
        Runtime, typer.Option(help="Our engine, or Flower's own simulation: slower, the same figures.")
    ] = Runtime.resident,
    chaos: Annotated[
        str | None,
        typer.Option(
            metavar="FAULT=P%,...", show_default=False,
            help="Disturb the run on purpose: kill=2%,late=5%,duplicate=5%,wipe=1%; the scenario's key `chaos`.",
        ),
    ] = None,
    trackers: Trackers = None,
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Run a scenario's methods side by side and write a report.

    SCENARIO is a TOML file, a run folder, or a name that `fl-ef21 list scenarios` shows.
    """
    from scenarios.commands import running

    sets = [*(sets or []), *([] if chaos is None else [f"chaos={chaos}"])]
    running.run(scenario, out, sets, runtime.value, format.value, debug, trackers or [])


@app.command("run-app")
def run_app(
    path: Annotated[Path, typer.Argument()],
    clients: Annotated[
        int | None, typer.Option(help="Simulated clients; as the app says, else 10.", show_default=False)
    ] = None,
    actors: Annotated[
        int | None, typer.Option(help="Ray actors, one a core by default; 0: this process.", show_default=False)
    ] = None,
    cpus_per_actor: Annotated[float, typer.Option(help="May be a fraction.")] = 1.0,
    gpus_per_actor: Annotated[float, typer.Option(help="May be a fraction.")] = 0.0,
    run_config: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'K=V ...'", show_default=False, help="Change the app's config as `flwr run` does, or a TOML file."
        ),
    ] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Run any Flower app on the resident engine.

    PATH is its folder, the one with pyproject.toml.
    """
    from scenarios.commands import app as command

    command.run_app(path, clients, actors, cpus_per_actor, gpus_per_actor, run_config or [], debug)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Change a key of [engine] or [cuts]."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although the code has changed.")] = False,
    trackers: Trackers = None,
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped, killed, or ran out of disk; it ends as if nothing had been.

    DIR is its run folder.
    """
    from scenarios.commands import lasting

    lasting.resume(folder, sets or [], force, format.value, debug, trackers or [])


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    rounds: Annotated[int, typer.Option(help="Rounds to draw, of all methods together.")] = 3,
    seed: Annotated[int | None, typer.Option(help="Of the draw; another one each time by default.")] = None,
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """Compute random rounds of a durable run again and compare them with its journal. Exit code 5 where they differ.

    DIR is a run folder with a journal.
    """
    from scenarios.commands import lasting

    lasting.verify(folder, rounds, seed, format.value, debug)


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(metavar="DIR")], format: AsFormat = Format.text, debug: Debug = False
) -> None:
    """Check a durable run by its journal alone: g = sum_i w_i g_i, and every model. Exit code 5 where it does not hold.

    DIR is a run folder with a journal.
    """
    from scenarios.commands import lasting

    lasting.audit(folder, format.value, debug)


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
)
def node(context: typer.Context, debug: Debug = False) -> None:
    """Be a device: Flower's SuperNode that keeps the app loaded between messages, with the options of flower-supernode.

    Besides: --poll SECONDS between two looks for messages, 0.5 by default; flower-supernode takes 3.
    """
    from scenarios.commands import device

    device.node(context.args, debug)


@app.command()
def state(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    prune: Annotated[
        int | None,
        typer.Option(help="Remove all but so many experiments, the last used ones stay.", show_default=False, min=0),
    ] = None,
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """Show what a device keeps for each client and experiment, and how large it is.

    DIR is its state folder.
    """
    from scenarios.commands import device

    device.state(folder, prune, format.value, debug)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("compare.html"),
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """Put two or more run folders on one page."""
    from scenarios.commands import reading

    if len(folders) < 2:
        raise typer.BadParameter("name at least two run folders")
    reading.compare(folders, out, format.value, debug)


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR")], debug: Debug = False) -> None:
    """Write the report of a run folder again, from its files."""
    from scenarios.commands import reading

    reading.report(folder, debug)


app.command()(cli_pictures.trace)
app.command()(cli_pictures.figures)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Also as ONNX; needs pip install 'fl-ef21[onnx]'.")] = False,
    method: Annotated[str | None, typer.Option(help="Only this one, by its label.", show_default=False)] = None,
    format: AsFormat = Format.text,
    debug: Debug = False,
) -> None:
    """Write final models as torch.export programs beside their safetensors. Exit code 5 where one cannot be.

    DIR is a run folder.
    """
    from scenarios.commands import exporting

    exporting.export(folder, onnx, method, format.value, debug)


@app.command("list")
def list_(kind: Annotated[Kind, typer.Argument()], format: AsFormat = Format.text) -> None:
    """Names a scenario may use, each with a line about it."""
    from scenarios.commands import catalogue

    catalogue.show(kind.value, format.value)


@app.command()
def schema(section: Annotated[str | None, typer.Argument(show_default=False)] = None) -> None:
    """Print the JSON schema of scenario files, or of one SECTION such as method."""
    from scenarios.commands import catalogue

    catalogue.schema(section)


@app.command()
def doctor(format: AsFormat = Format.text) -> None:
    """Say whether this machine can run simulations, and what to mend. Exit code 4 where it cannot."""
    from scenarios.commands import health

    health.show(format.value)


def main() -> None:
    """Entry point of `fl-ef21`."""
    app()


if __name__ == "__main__":
    main()
