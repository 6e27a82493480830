"""Rules that make one vector of the clients' g_i, of which a share may be anything.

A rule is given rows G (n, d) and their weights (n,), which sum to one, and is near the weighted mean of the good rows
wherever the others are: for every set S of rows that weighs 1 - share

    |rule - mean_S|^2 <= kappa mean_S |g_i - mean_S|^2        mean_S the weighted mean over S

where mixing is for rows that differ (strategies/robust_mixing.py). It is applied to what the server holds of every
client, not to the increments: those are sparse, and the median of sparse vectors is zero.

Reference: Rammal, Gruntkowska, Fedin, Gorbunov, Richtarik. Communication compression for Byzantine robust learning.
AISTATS 2024. kappa: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan. Fixing by mixing. AISTATS 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fl_ef21.errors import InputError

Array = NDArray[Any]
CHUNK = 1 << 20  # numbers of G that are worked on at once
DUST = 1e-9  # a weight below is rounding, and must not carry a row that may be 1e38
STEPS, CLOSE = 100, 1e-9  # of Weiszfeld's iteration, and the relative step at which it has arrived


class Rule(Protocol):
    """A frozen dataclass of its parameters.

    Attributes:
      share: of the weight, which the rule is set for; None where it is not set for one.
      coordinatewise: whether each coordinate of the result is a function of that coordinate alone.
    """

    coordinatewise: ClassVar[bool]

    @property
    def share(self) -> float | None: ...

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        """(d,) float64 from rows G (n, d) of any float dtype and weights w (n,) float64 that sum to one."""
        ...

    def kappa(self, share: float) -> float:
        """The claim above; infinite where so many rows may lead the result anywhere."""
        ...


@dataclass(frozen=True)
class Mean:
    """The weighted mean, which one row can lead anywhere."""

    coordinatewise: ClassVar[bool] = True
    share: ClassVar[None] = None

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        return weighted(G, w)

    def kappa(self, share: float) -> float:
        return 0.0 if share == 0 else math.inf


@dataclass(frozen=True)
class Median:
    """The weighted median of each coordinate; halfway where half the weight lies on either side.

    Reference: Yin, Chen, Ramchandran, Bartlett. Byzantine-robust distributed learning. ICML 2018.
    """

    coordinatewise: ClassVar[bool] = True
    share: ClassVar[None] = None

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        return _by_coordinate(G, w, _middle)

    def kappa(self, share: float) -> float:
        return 4 * _odds(share) ** 2


@dataclass(frozen=True)
class TrimmedMean:
    """The weighted mean of each coordinate without the weight `share` at either end. Reference: as for the median."""

    share: float
    coordinatewise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_share(self.share)

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        return _by_coordinate(G, w, lambda s, cumulated: _between(s, cumulated, self.share))

    def kappa(self, share: float) -> float:
        return for_fewer(6 * self.share / (1 - 2 * self.share) * _odds(self.share), self.share, share)


@dataclass(frozen=True)
class GeometricMedian:
    """argmin_z sum_i w_i |g_i - z|, by Weiszfeld's iteration from the coordinates' medians.

    Reference: Pillutla, Kakade, Harchaoui. Robust aggregation for federated learning. IEEE TSP 2022.
    """

    coordinatewise: ClassVar[bool] = False
    share: ClassVar[None] = None

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        z = Median()(G, w)
        away = distances(G, z)
        least = 1e-6 * float(_by_coordinate(away[:, None], w, _middle))
        if least == 0:  # half the weight is at z, so nothing is nearer
            return z
        for _ in range(STEPS):
            beta = w / away.clamp(min=least)
            before, z = z, weighted(G, beta / beta.sum())
            away = distances(G, z)
            if float((z - before).norm()) <= CLOSE * float(away.min() + least):
                break
        nearest = G[int(away.argmin())].to(torch.float64)  # where a row is the minimum, the iteration creeps towards it
        better = w @ distances(G, nearest) < (1 - DUST) * (w @ away)  # all between two equals are minima: stay midway
        return nearest if better else z

    def kappa(self, share: float) -> float:
        return 4 * _odds(share) ** 2


@dataclass(frozen=True)
class Krum:
    """The mean of the `keep` rows that are nearest to their n - f nearest, f = share n; all n - f with keep = 0.

    It counts rows, and weighs only those it keeps.
    Reference: Blanchard, El Mhamdi, Guerraoui, Stainer. Machine learning with adversaries. NeurIPS 2017; with n - f
    neighbours instead of n - f - 2, the row itself among them, as where its kappa is from.
    """

    share: float
    keep: int = 1
    coordinatewise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share(self.share)
        if isinstance(self.keep, bool) or not isinstance(self.keep, int) or self.keep < 0:
            raise InputError("keep", self.keep, "must be a whole number >= 1, or 0 for all but the share")

    def __call__(self, G: Tensor, w: Tensor) -> Tensor:
        good = len(G) - counted(self.share, len(G))
        score = pairwise(G).sort(dim=1).values[:, :good].sum(dim=1)
        keep = min(self.keep or good, good)
        kept = torch.argsort(score, stable=True)[:keep].sort().values
        return weighted(G[kept], w[kept] / w[kept].sum())

    def kappa(self, share: float) -> float:
        return for_fewer(6 * _odds(self.share), self.share, share)


def check_share(share: Any) -> None:
    """Raises: InputError unless it is a number in [0, 0.5)."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 0.5:
        raise InputError("share", share, "must be a number >= 0 and below 0.5: no rule stands more than half")


def counted(share: float, n: int) -> int:
    """How many of n rows a share is: 0.29 of 100 are 29, whatever the last bit of the product says."""
    return int(share * n + 1e-9)


def for_fewer(kappa: float, most: float, share: float) -> float:
    """What is left of a claim about sets that weigh 1 - most where they weigh 1 - share, which is more."""
    if abs(share - most) < DUST:
        return kappa
    return math.inf if share > most else 2 * (kappa + 1) * (1 - share) / (1 - most)


def _odds(share: float) -> float:
    return 1 + share / (1 - 2 * share) if share < 0.5 else math.inf


def spans(G: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Some columns of G in float64, and which; so that no copy of all of it is made."""
    step = max(1, CHUNK // max(1, len(G)))
    for begin in range(0, G.shape[1], step):
        at = slice(begin, begin + step)
        yield G[:, at].to(torch.float64), at


def weighted(G: Tensor, w: Tensor) -> Tensor:
    """sum_i w_i g_i, (d,) float64."""
    return torch.cat([w @ some for some, _ in spans(G)])


def distances(G: Tensor, z: Tensor) -> Tensor:
    """|g_i - z|, (n,) float64; not from squares, whose difference is nothing where a row is near z and z far out."""
    squares = torch.zeros(len(G), dtype=torch.float64)
    for some, at in spans(G):
        squares += (some - z[at]).square().sum(dim=1)
    return squares.sqrt()


def pairwise(G: Tensor) -> Tensor:
    """|g_i - g_j|^2, (n, n) float64, by products of rows whose median is moved to zero, so that good rows are short."""
    gram, middle = torch.zeros(len(G), len(G), dtype=torch.float64), Median()(G, _alike(len(G)))
    for some, at in spans(G):
        moved = some - middle[at]
        gram += moved @ moved.T
    square = gram.diagonal()
    between = (square[:, None] + square[None, :] - 2 * gram).clamp_(min=0).fill_diagonal_(0)
    return between.nan_to_num_(nan=math.inf, posinf=math.inf)  # squares that overflow are far


def _alike(n: int) -> Tensor:
    return torch.full((n,), 1 / n, dtype=torch.float64)


def _by_coordinate(G: Tensor, w: Tensor, reduce: Callable[[Array, Array], Array]) -> Tensor:
    """(d,): reduce(s, cumulated) of columns' sorted numbers s (m, n) and the weights up to each, (m, n) or (n,)."""
    alike, n = bool((w == w[0]).all()), len(G)
    weight, out = w.numpy(), np.empty(G.shape[1])
    step = max(1, CHUNK // n)
    for begin in range(0, G.shape[1], step):
        some = np.array(G[:, begin : begin + step].numpy().T, order="C")  # a copy, which may be sorted in place
        if alike:
            some.sort(axis=1)
            cumulated = np.arange(1, n + 1) / n
        else:
            order = some.argsort(axis=1, kind="stable")
            some, cumulated = np.take_along_axis(some, order, axis=1), weight[order].cumsum(axis=1)
        out[begin : begin + step] = reduce(some, cumulated)
    return torch.from_numpy(out)


def _middle(s: Array, cumulated: Array) -> Array:
    lower = (cumulated < 0.5 - DUST).sum(axis=-1)
    upper = (cumulated <= 0.5 + DUST).sum(axis=-1)
    ends = (np.take_along_axis(s, np.broadcast_to(at, len(s))[:, None], 1)[:, 0] for at in (lower, upper))
    return sum(0.5 * end.astype(np.float64) for end in ends)  # type: ignore[return-value]  # halves first: no overflow


def _between(s: Array, cumulated: Array, share: float) -> Array:
    """The mean of what lies between the weights share and 1 - share."""
    end = np.clip(cumulated, share, 1 - share)
    kept = np.diff(end, axis=-1, prepend=share)
    kept[kept < DUST] = 0
    kept /= kept.sum(axis=-1, keepdims=True)
    return np.einsum("ij,ij->i", s.astype(np.float64), np.broadcast_to(kept, s.shape))  # type: ignore[no-any-return]


RULES: dict[str, Callable[..., Rule]] = {
    "mean": Mean,
    "median": Median,
    "trimmed-mean": TrimmedMean,
    "geometric-median": GeometricMedian,
    "krum": Krum,
    "multi-krum": lambda share: Krum(share, keep=0),
}


def set_for(rule: Rule, share: float) -> Rule:
    """The rule for another share, where it is set for one."""
    return rule if rule.share is None else replace(rule, share=share)  # type: ignore[type-var]
