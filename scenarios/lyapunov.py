"""The live panel of theory: measured alpha, errors of momenta and memories, and the Lyapunov value, round by round.

A row of round r is about the model x that round r began with, as the clients' states after it are: in the paper's count
x^(r-1), v_i^(r-1), g_i^(r-1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from flwr.serverapp import Grid
from torch import Tensor

from fl_ef21.shadow import OWN
from fl_ef21.theory.measured import lyapunov
from scenarios import theory
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.flower_lyapunov import errors

COLUMNS = ("measured_alpha", "momentum_error", "compression_error", "mean_momentum_error", "lyapunov")
DEFINED = ("sgdm", "ef21-sgd", "ef21-sgdm")  # the methods whose Lyapunov function the paper has; ef21-sgd is eta = 1
NOTHING: dict[str, Any] = dict.fromkeys(COLUMNS)


@dataclass
class Watch:
    """Of one method, where the scenario asks for it."""

    setup: Setup
    number: int
    _x: Tensor | None = field(default=None, init=False)
    _alpha: float | None = field(default=None, init=False)

    def look(self, strategy: CompressedStrategy, grid: Grid, round: int) -> None:
        """Before a round: remember its model, and what the compressor will keep of the vectors it is about to get."""
        self._x, self._alpha = strategy.downlink.w.clone(), None
        if not strategy.begins(round):
            seen = strategy.shadow(grid, round)
            self._alpha = next((one.kept_energy for one in seen if one.word == OWN), None)

    def figures(self, strategy: CompressedStrategy, grid: Grid) -> dict[str, Any]:
        """The columns of the row of the round that was looked at before; of another, nothing."""
        x, self._x = self._x, None
        if x is None or strategy.last.number == 0:
            return NOTHING
        found = errors(strategy, grid, x)
        if found is None:
            return NOTHING | {"measured_alpha": _finite(self._alpha)}
        value, slope = self.setup.problem.objective(x)
        apart = float((found.v - slope).square().sum())
        told = (self._alpha, found.momentum, found.compression, apart, self._value(strategy, value, found, apart))
        return {name: _finite(number) for name, number in zip(COLUMNS, told, strict=True)}

    def _value(self, strategy: CompressedStrategy, f: float, found: Any, apart: float) -> float | None:
        plan, round = strategy.plan, strategy.last.number
        if plan.method not in DEFINED or plan.alpha is None:
            return None
        eta = 1.0 if plan.method == "ef21-sgd" else plan.eta(round)
        gap = f - theory.known(self.setup.problem).least.value
        return lyapunov(gap, found, apart, plan.gamma(round), eta, plan.alpha)


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
