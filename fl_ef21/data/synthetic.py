"""Gaussian classes, with natural clients whose labels and features are shifted if wanted.

    mu_c  ~ N(0, I) separation / sqrt(2 F)           class centres: E|mu_a - mu_b|^2 = separation^2
    s_g   ~ N(0, I) separation / sqrt(8 F)           shift of group g: half as far apart
    y     = a fixed class of its group with probability 1/2, else balanced over the classes
    x     = mu_y + s_g + N(0, I)

Without groups there is no shift and the classes are balanced. Own design, in the spirit of the
Synthetic(alpha, beta) sets of Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020.
"""

from __future__ import annotations

import math

import numpy as np

from fl_ef21.data.base import Dataset, Raw, build, hold_out, whole
from fl_ef21.errors import InputError


def synthetic(
    *,
    samples: int = 2000,
    features: int = 20,
    classes: int = 10,
    separation: float = 4.0,
    groups: int = 0,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """`samples` in all, training and test, with `features` numbers each: (N, features).

    classes: how many, >= 2.
    separation: typical distance of two class centres in standard deviations of the noise, >= 0.
    groups: number of natural clients of nearly equal size; 0 for none.
    test_fraction: share of every class kept for testing, in [0, 1).
    seed: of everything, >= 0.
    """
    whole("data.classes", classes, 2)
    whole("data.samples", samples, 2 * classes)
    F = whole("data.features", features, 1)
    whole("data.groups", groups, 0, samples)
    whole("data.seed", seed, 0, 2**32 - 1)
    if isinstance(separation, bool) or not isinstance(separation, int | float):
        raise InputError("data.separation", separation, "must be a number")
    if not 0 <= separation <= 1e6:
        raise InputError("data.separation", separation, "must lie in [0, 1e6]")

    rng = np.random.default_rng(seed)
    mu = rng.standard_normal((classes, F)) * separation / math.sqrt(2 * F)
    y = rng.permutation(samples) % classes
    x = rng.standard_normal((samples, F))
    g = None
    if groups:
        g = rng.permutation(samples) % groups
        y = np.where(rng.random(samples) < 0.5, g % classes, y)
        x += (rng.standard_normal((groups, F)) * separation / math.sqrt(8 * F))[g]
    if len(np.unique(y)) < classes:
        raise InputError("data.samples", samples, f"is too few for {classes} classes in {groups} groups")
    raw = Raw("data.source", "synthetic", x + mu[y], y, g)
    return build("synthetic", *hold_out(raw, test_fraction, seed))
