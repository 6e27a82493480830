"""Trackers by name, as the command line knows them: NAME:WHERE."""

from __future__ import annotations

import importlib.util

from fl_ef21.errors import InputError, choose
from scenarios.trackers.base import Tracker
from scenarios.trackers.mlflow import MLflow
from scenarios.trackers.tensorboard import TensorBoard

OPTION = "--tracker"
TRACKERS: dict[str, type[TensorBoard] | type[MLflow]] = {  # a name is that of the package it needs, and of the extra
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
}


def named(word: str) -> Tracker:
    """The tracker that a word such as "tensorboard:curves" means.

    Raises: InputError where there is no such tracker or no place; ModuleNotFoundError that names the extra where its
    package is not installed.
    """
    name, _, where = word.partition(":")
    make = choose(TRACKERS, name, OPTION)
    if not where:
        raise InputError(OPTION, word, f"say where, such as {name}:{make.example}")
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(f"{OPTION} {name} needs pip install 'fl-ef21[{name}]'", name=name)
    return make(where)
