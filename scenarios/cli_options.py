"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker", metavar="NAME:WHERE", show_default=False,
        help="Also tell a tracker of it: tensorboard:DIR or mlflow:URI. May be repeated.",
    ),
]  # fmt: skip
