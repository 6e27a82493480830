"""What a model gives each client: f_i, and how much it predicts right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fl_ef21.blocks import Array


@dataclass(frozen=True)
class Each:
    """All (n,) float64, NaN where nobody knows.

    Attributes:
      samples: training samples that a client has.
      loss: f_i, its mean over them, regulariser included.
      accuracy: share of them that is predicted right.
      test_accuracy: likewise of test samples: of the client's own where it keeps some, else of everybody's with each
        class weighing what it weighs among the client's samples.
    """

    samples: Array
    loss: Array
    accuracy: Array
    test_accuracy: Array

    @classmethod
    def nothing(cls, clients: int) -> Each:
        """Of nobody."""
        return cls(*(np.full(clients, np.nan) for _ in range(4)))

    @classmethod
    def of_sums(cls, clients: int, ids: Array, sums: Tensor | Array) -> Each:
        """From `fl_ef21.measured.FIGURES` (m, 4) of some of the clients, ids (m,) int64."""
        samples, loss, tested, right = np.asarray(sums, dtype=np.float64).T
        found = cls.nothing(clients)
        with np.errstate(divide="ignore", invalid="ignore"):
            found.samples[ids], found.loss[ids] = samples, loss / samples
            found.test_accuracy[ids] = np.where(tested > 0, right / tested, np.nan)
        return found


def reweighted(mix: Array, right: Array, tested: Array) -> Array:
    """(n,) accuracies on test samples, each class weighing what it weighs for a client.

    mix (n, classes): of a client's samples; right, tested (classes,): test samples predicted right, and all of them.
    Classes without test samples are left out; NaN for who holds only such.
    """
    known = tested > 0
    weight = mix[:, known]
    total = weight.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(total > 0, weight @ (right[known] / tested[known]) / total, np.nan)
    return found
