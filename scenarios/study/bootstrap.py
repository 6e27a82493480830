"""Means with bootstrap intervals over seeds (Efron 1979: percentiles of the means of resamples).

Of up to six values every resample is taken, which leaves nothing to chance; of more, 20,000 are drawn by counting.
An interval over n values can reach no farther than the least and the largest of them: of three it is about these,
and covers the true mean in three cases of four rather than in nineteen of twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL, EVERY, DRAWS = 0.95, 6, 20_000


@dataclass(frozen=True)
class Mean:
    """Attributes:
    mean, low, high: NaN where there is no value; low and high also where there is only one.
    n: values.
    """

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float]) -> Mean:
    """Of values without NaN; inf is a value. For paired differences hand over the differences."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    if n == 0:
        return Mean(np.nan, np.nan, np.nan, 0)
    if n == 1 or np.isinf(x).any():
        return Mean(float(x.mean()), np.nan, np.nan, n)
    if n <= EVERY:
        picked = np.stack(np.meshgrid(*[np.arange(n)] * n, indexing="ij"), axis=-1).reshape(-1, n)
    else:
        picked = np.random.Generator(np.random.Philox(key=n)).integers(0, n, size=(DRAWS, n))
    means = x[picked].mean(axis=1)
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(means, edges, method="inverted_cdf")
    return Mean(float(x.mean()), float(low), float(high), n)
