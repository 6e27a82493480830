"""How evenly a figure is spread over clients: quantiles, deciles at either end, Jain's index, Gini, rank correlation.

References: Jain, Chiu, Hawe. A quantitative measure of fairness. DEC-TR-301, 1984. Gini.
Variabilita e mutabilita. 1912.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fl_ef21.blocks import Array
from scenarios.units import finite

QUANTILES = (0, 10, 25, 50, 75, 90, 100)  # percent
Figures = dict[str, float | int | None]


def known(values: Array) -> Array:
    """Those that are numbers."""
    found: Array = values[np.isfinite(values)]
    return found


def spread(values: Array, low_is_bad: bool) -> Figures | None:
    """Figures of values (n,), of those that are finite; None where none is.

    low_is_bad: as of an accuracy; of a loss high is. The worst decile is the mean of the worst n / 10, rounded up.
    """
    x = np.sort(known(values))
    if not len(x):
        return None
    with np.errstate(over="ignore"):  # losses of a model that is about to diverge
        return _figures(x, low_is_bad)


def _figures(x: Array, low_is_bad: bool) -> Figures:
    tenth = math.ceil(len(x) / 10)
    low, high = finite(float(x[:tenth].mean())), finite(float(x[-tenth:].mean()))
    worst, best = (low, high) if low_is_bad else (high, low)
    quantiles = {f"q{q}": float(np.quantile(x, q / 100)) for q in QUANTILES}
    return {"clients": len(x), "mean": finite(float(x.mean())), "variance": finite(float(x.var())), **quantiles,
            "worst_decile": worst, "best_decile": best, "jain": jain(x), "gini": gini(x)}  # fmt: skip


def jain(values: Array) -> float | None:
    """(sum x)^2 / (n sum x^2) of values >= 0: 1 where all are equal, 1/n where one has all; None if one is negative."""
    top = float(values.max(initial=0.0))
    if not len(values) or values.min() < 0:
        return None
    if top == 0:
        return 1.0
    x = values / top  # whose squares neither vanish nor overflow
    return float(x.sum() ** 2 / (len(x) * np.square(x).sum()))


def gini(values: Array) -> float | None:
    """sum_ij |x_i - x_j| / (2 n sum x) of values >= 0: 0 where all are equal, 1 - 1/n where one has all."""
    n, top = len(values), float(values.max(initial=0.0))
    if not n or values.min() < 0:
        return None
    if top == 0:
        return 0.0
    x = np.sort(values / top)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x / (n * x.sum()))


def spearman(a: Array, b: Array) -> float | None:
    """Rank correlation over the clients for which both are known; None where one of them does not vary."""
    both = np.isfinite(a) & np.isfinite(b)
    x, y = _ranks(a[both]), _ranks(b[both])
    x, y = x - x.mean() if len(x) else x, y - y.mean() if len(y) else y
    size = math.sqrt(float(x @ x) * float(y @ y))
    return float(np.clip(x @ y / size, -1, 1)) if size > 0 else None


def _ranks(x: Array) -> Array:
    """(n,) from 1, equal values share the mean of theirs."""
    _, group, count = np.unique(x, return_inverse=True, return_counts=True)
    last = count.cumsum()
    found: Array = (last - (count - 1) / 2)[group]
    return found


def quartiles(sizes: Array) -> list[Array]:
    """Row numbers of clients in four groups of even number, smallest first; ties by row number. Fewer where n < 4."""
    groups: Sequence[Array] = np.array_split(np.argsort(sizes, kind="stable"), 4)
    return [np.sort(rows) for rows in groups if len(rows)]
