"""How a command ends when something is wrong: a short red message on stderr and an exit code."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from fl_ef21.errors import InputError


class Code(IntEnum):
    DONE = 0
    USAGE = 2
    CONFIG = 3
    ENVIRONMENT = 4
    FAILED = 5
    FULL = 6
    STOPPED = 7
    NO_QUORUM = 8


@contextmanager
def explained(debug: bool) -> Iterator[None]:
    """Turn what is raised inside into a message and typer.Exit; with `debug` the traceback comes first."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        complain("stopped by you")
        raise typer.Exit(Code.STOPPED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, words = explain(error)
        complain(words)
        raise typer.Exit(code) from error


def explain(error: Exception) -> tuple[Code, str]:
    """The exit code an error stands for, and what to tell."""
    from scenarios.loading import ScenarioError

    if isinstance(error, InputError | ScenarioError):
        return Code.CONFIG, str(error)
    if isinstance(error, ModuleNotFoundError):
        known = str(error) if "pip install" in str(error) else "`fl-ef21 doctor` says what is missing"
        return Code.ENVIRONMENT, f"{error.name} is not installed; {known}"
    if isinstance(error, OSError):
        return Code.ENVIRONMENT, f"{error.filename or 'the system'}: {error.strerror or error}"
    name = type(error).__name__  # by name: its module would load torch and Flower
    if name == "RunEnded":  # of another process, which has explained it
        return Code(error.code), str(error)  # type: ignore[attr-defined]
    if name == "NoQuorum":
        return Code.NO_QUORUM, str(error)
    if name == "Stopped":
        return Code.STOPPED, str(error)
    if name in ("RunFailed", "DiskFull"):
        return Code.FULL if name == "DiskFull" else Code.FAILED, f"the run failed: {error}"
    if name in ("UpFailed", "FlowerSaid"):
        return Code.ENVIRONMENT, str(error)
    return Code.FAILED, f"the run failed: {type(error).__name__}: {error} (--debug shows where)"


def complain(words: str) -> None:
    """A red line on stderr; plain with NO_COLOR or where there is no terminal."""
    typer.secho(words, err=True, fg=None if os.environ.get("NO_COLOR") else typer.colors.RED)
