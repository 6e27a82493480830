"""Whether what was claimed came out, with its margin over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenarios.papers.form import Bounds, Claim
from scenarios.papers.measuring import figures
from scenarios.study.bootstrap import Mean, interval
from scenarios.study.results import Results


@dataclass(frozen=True)
class Verdict:
    """Attributes:
    bounds: what it was held to.
    measured: of the figure, the ratio (a geometric mean) or the difference, with a 95 % interval over seeds.
    """

    claim: Claim
    bounds: Bounds
    measured: Mean

    @property
    def holds(self) -> bool:
        """Whether the whole interval lies where it must; of a single seed the value."""
        m = self.measured
        low, high = (m.mean, m.mean) if math.isnan(m.low) else (m.low, m.high)
        above = self.bounds.at_least is None or low >= self.bounds.at_least
        below = self.bounds.at_most is None or high <= self.bounds.at_most
        return m.n > 0 and above and below


def judge(claim: Claim, found: Results, trials: Path, small: bool = False) -> Verdict | None:
    """None where a claim is not held to the reduced size. trials: the folder of the study's runs."""
    bounds = claim.small if small else claim
    if bounds is None:
        return None
    mine = figures(claim, claim.of, found, trials)
    if claim.over is not None:
        return Verdict(claim, bounds, _ratio(mine, figures(claim, claim.over, found, trials)))
    if claim.less is not None:
        other = figures(claim, claim.less, found, trials)
        return Verdict(claim, bounds, _mean([mine[seed] - other[seed] for seed in mine]))
    return Verdict(claim, bounds, _mean(list(mine.values())))


def _ratio(above: Mapping[int, float], below: Mapping[int, float]) -> Mean:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [float(np.log(np.float64(above[seed]) / np.float64(below[seed]))) for seed in above]
    told = _mean(logs)
    return Mean(math.exp(told.mean), math.exp(told.low), math.exp(told.high), told.n)


def _mean(values: Sequence[float]) -> Mean:
    """As `interval`; where a value is infinite the interval is from the least to the largest. Without NaN, for a run
    that diverged set against one that did says nothing: n is 0 then."""
    if any(map(math.isnan, values)):
        return Mean(math.nan, math.nan, math.nan, 0)
    told = interval(values)
    return told if all(map(math.isfinite, values)) else Mean(told.mean, min(values), max(values), told.n)
