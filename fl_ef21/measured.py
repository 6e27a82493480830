"""What clients answer to an evaluation: sums over their own samples, of which the server makes f and an accuracy.

    f(x) = sum_i w_i loss_i / samples_i        accuracy = sum_i right_i / sum_i tested_i

over the clients whose answers can be used, with their weights made to sum to one. A client tells what it likes; numbers
that cannot be are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from fl_ef21.blocks import Array

FIGURES = ("samples", "loss", "tested", "right")  # of a client: how many, the sum of f_i over them, test samples, hits
_LAYOUT = np.dtype([(name, "<f8") for name in FIGURES])


@dataclass(frozen=True)
class Measured:
    """f(x), and how many test samples were predicted right.

    Attributes:
      loss: over the samples of those who answered; None where nobody did, NaN where nobody's is a finite number.
      accuracy: share of test samples in [0, 1], None where there are none.
      clients: whose samples these are, how many.
      ids, sums: (m,) and FIGURES (m, 4) of who told what can be.
    """

    loss: float | None
    accuracy: float | None
    clients: int
    ids: Array = field(default_factory=lambda: np.empty(0, np.int64), repr=False, compare=False)
    sums: Array = field(default_factory=lambda: np.empty((0, len(FIGURES))), repr=False, compare=False)


def pack(sums: Tensor) -> list[bytes]:
    """A payload for each client, from its FIGURES (n, 4)."""
    return [row.tobytes() for row in sums.cpu().numpy().astype("<f8")]


def weigh(clients: Array, payloads: Sequence[bytes], weights: Tensor) -> Measured:
    """What payloads of `pack` come to; clients (m,) int64, who sent each, weights (n,) of everybody."""
    whole = [row for row, payload in enumerate(payloads) if len(payload) == _LAYOUT.itemsize]
    told = np.frombuffer(b"".join(payloads[row] for row in whole), _LAYOUT)
    w = weights.numpy()[clients[whole]]
    counted = (told["samples"] >= 1) & (told["samples"] < 2**53) & (w > 0)
    good = counted & np.isfinite(told["loss"])
    tested, right = told["tested"][good], told["right"][good]
    fits = (tested > 0) & (tested < 2**53) & (right >= 0) & (right <= tested)
    total = float(tested[fits].sum())
    accuracy = float(right[fits].sum()) / total if total else None
    if not good.any():
        return Measured(math.nan if counted.any() else None, None, 0)
    loss = float((w[good] * (told["loss"][good] / told["samples"][good])).sum() / w[good].sum())
    sums = np.stack([told[name][good] for name in FIGURES], axis=1)
    sums[~fits, 2:] = 0.0
    return Measured(loss, accuracy, int(good.sum()), clients[whole][good], sums)
