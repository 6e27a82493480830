"""A run that is disturbed on purpose: what the scenario's `chaos` names, around whatever Grid it trains on."""

from __future__ import annotations

from typing import Any

import numpy as np
from flwr.serverapp import Grid

from fl_ef21.engine.chaos import ChaosGrid
from fl_ef21.faults import Faults
from scenarios.schema import Scenario
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy


def faults_of(scenario: Scenario) -> Faults | None:
    """None where nothing is to go wrong."""
    return None if scenario.chaos is None else Faults.parse(scenario.chaos)


def check(scenario: Scenario, runtime: str) -> None:
    """Raises: InputError for what this runtime cannot do."""
    faults = faults_of(scenario)
    if faults is not None and runtime != "resident":
        faults.without_devices()


def heals(scenario: Scenario) -> bool | None:
    """Whether shards must be built anew when they die; None leaves it to the engine."""
    faults = faults_of(scenario)
    return True if faults is not None and "kill" in faults.words else None


def disturbed(setup: Setup, grid: Grid) -> Grid:
    """The Grid on which the scenario trains."""
    faults = faults_of(setup.scenario)
    return grid if faults is None else ChaosGrid(grid, faults, tile=1 if setup.problem.rowwise else setup.tile)


def follow(grid: Grid, strategy: CompressedStrategy) -> None:
    """This strategy's clients may come back."""
    if isinstance(grid, ChaosGrid):
        grid.absent = lambda: np.flatnonzero(~strategy.members.there).tolist()
        grid.welcome = strategy.join


def told(grid: Grid) -> dict[str, Any] | None:
    """What was done, for the summary: faults by word, over all methods."""
    return dict(sorted(grid.done.items())) if isinstance(grid, ChaosGrid) else None
