"""f, its gradient's norm and the accuracy at a method's model: by the server where the samples are, else by clients."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flwr.serverapp import Grid

from fl_ef21.each import Each
from scenarios.setup import Setup
from strategies.flower import CompressedStrategy
from strategies.flower_evaluation import evaluate
from strategies.prox import mapping


@dataclass(frozen=True)
class Figures:
    """What an evaluated row begins with.

    Attributes:
      train_loss: f(x), None where no client could tell; f(x) + r(x) of a method with a prox.
      grad_norm_sq: |grad f(x)|^2, None where clients were asked, who do not send it; of a method with a prox that of
        the gradient mapping, at the round's step size.
      test_accuracy: None where there are no test samples.
      evaluated: clients whose samples were measured, None where the server did it, over everybody's.
      each: what clients told of themselves, None where the server measured.
    """

    train_loss: float | None
    grad_norm_sq: float | None
    test_accuracy: float | None
    evaluated: int | None
    each: Each | None = None

    @property
    def finite(self) -> bool:
        """False where the model has diverged."""
        return all(value is None or math.isfinite(value) for value in (self.train_loss, self.grad_norm_sq))


def measure(setup: Setup, strategy: CompressedStrategy, grid: Grid) -> Figures:
    """As the scenario's [evaluate] says. Test samples that are nobody's are the server's, whoever measures f."""
    x, problem, prox = strategy.descent.x, setup.problem, strategy.descent.prox
    r = 0.0 if prox is None else prox.value(x)
    if not setup.asks_clients:
        loss, gradient = problem.objective(x)
        if prox is not None:
            gradient = mapping(prox, x, gradient, strategy.plan.gamma(max(1, strategy.last.number)))
        return Figures(loss + r, float(gradient.square().sum()), problem.accuracy(x), None)
    told = evaluate(strategy, grid, setup.scenario.train.timeout)
    accuracy = problem.accuracy(x) if setup.tests_here else told.accuracy
    each = Each.of_sums(problem.clients, told.ids, told.sums)
    if setup.tests_here:  # the server knows nobody's classes, so nobody has a test accuracy of its own
        each.test_accuracy[:] = math.nan
    return Figures(None if told.loss is None else told.loss + r, None, accuracy, told.clients, each)
