"""How different a scenario's clients are, in numbers: labels, sizes, gradients at x0, speeds."""

from __future__ import annotations

from typing import Any

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.problems.dissimilarity import dissimilarity
from fl_ef21.rarity import rarity
from scenarios import fleets
from scenarios.setup import Setup
from scenarios.spreads import gini, spearman


def figures(setup: Setup) -> dict[str, Any] | None:
    """`heterogeneity` of summary.json; None where nothing is known of the clients' samples."""
    if setup.label_counts is None:
        return None
    counts = np.asarray(setup.label_counts, dtype=np.float64)
    found: dict[str, Any] = labels(counts) | {"size_gini": gini(counts.sum(axis=1))}
    found |= _gradients(setup) | _speeds(setup, counts)
    return {"dial": setup.scenario.heterogeneity, **found}


def labels(counts: Array) -> dict[str, float]:
    """Of label counts (n, classes): distances of clients' distributions p_i to that of all samples, in the mean.

    label_tv is total variation, label_js the Jensen-Shannon divergence in bits, label_hellinger Hellinger's
    distance, each in [0, 1]; classes_per_client is the mean number of classes that a client has samples of.
    """
    p, q = counts / counts.sum(axis=1, keepdims=True), counts.sum(axis=0) / counts.sum()
    middle = (p + q) / 2
    js = (_kl(p, middle) + _kl(np.broadcast_to(q, p.shape), middle)) / 2
    return {
        "label_tv": float(np.abs(p - q).sum(axis=1).mean() / 2),
        "label_js": float(js.mean()),
        "label_hellinger": float(np.sqrt(np.maximum(0.0, 1 - np.sqrt(p * q).sum(axis=1))).mean()),
        "classes_per_client": float((counts > 0).sum(axis=1).mean()),
    }


def _kl(p: Array, q: Array) -> Array:
    """(n,) in bits; 0 log 0 is 0, and q > 0 wherever p is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Array = np.where(p > 0, p * np.log2(p / q), 0.0).sum(axis=1)
    return found


def _gradients(setup: Setup) -> dict[str, Any]:
    found = dissimilarity(setup.problem, setup.problem.x0())
    if found is None:
        return {}
    zeta, whole, clients = found
    return {
        "gradient_dissimilarity": zeta, "gradient_dissimilarity_relative": zeta / whole if whole > 0 else None,
        "gradient_clients": clients,
    }  # fmt: skip


def _speeds(setup: Setup, counts: Array) -> dict[str, Any]:
    """Of the devices: speeds' 90 % over 10 % quantile, and the rank correlation of slowness with rare classes."""
    if setup.scenario.devices is None:
        return {}
    steps = fleets.fleet(setup.scenario, len(counts)).step_seconds
    low, high = np.quantile(steps, (0.1, 0.9))
    return {"speed_p90_p10": float(high / low), "slowness_rarity_correlation": spearman(steps, rarity(counts))}
