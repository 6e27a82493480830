"""Which clients hold rare labels, and parts dealt so that slow devices own them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fl_ef21 import randomness
from fl_ef21.blocks import Array
from fl_ef21.data.base import Whole
from fl_ef21.errors import InputError


def rarity(counts: Array) -> Array:
    """(n,) bits: sum_c p_i(c) log2(1 / q(c)) of (n, classes) samples that clients have of each class.

    p_i are a client's shares and q those of the mean client, so that a label that few clients hold is rare however many
    samples they have of it. What differs by rounding alone is made equal.
    """
    p = counts / counts.sum(axis=1, keepdims=True)
    q = p.mean(axis=0)
    bits = np.log2(1 / np.where(q > 0, q, 1.0))
    found: Array = np.round(p @ bits, 9)
    return found


def correlated(parts: Sequence[Whole], counts: Array, step: Array, correlation: float, seed: int) -> list[Whole]:
    """The same parts, dealt so that rarity and a device's step time have about this rank correlation.

    Parts in order of rarity go to clients in order of r z_i + sqrt(1 - r^2) z'_i, where z_i is the normal score of
    the rank of client i's step time and z'_i is drawn: with r = 2 sin(pi correlation / 6) that is a Gaussian copula
    of Spearman's correlation (Pearson 1907). At 1 and -1 it is exact, but for ties; at 0 parts stay where they are.

    counts: (n, classes) of the parts. step: (n,) seconds of a step. Raises: InputError where all are equally rare, or
    all devices equally fast.
    """
    rare = rarity(counts)
    if correlation == 0:
        return list(parts)
    for values, told in ((rare, "all clients' labels are equally rare"), (step, "all devices are equally fast")):
        if len(np.unique(values)) < 2:
            raise InputError("partition.correlation", correlation, f"cannot be reached, as {told}; leave it out")
    score = _scores(step, correlation, seed)
    owner = np.argsort(score, kind="stable")
    found: list[Whole] = [parts[0]] * len(parts)
    for client, part in zip(owner.tolist(), np.argsort(rare, kind="stable").tolist(), strict=True):
        found[client] = parts[part]
    return found


def _scores(step: Array, correlation: float, seed: int) -> Array:
    n = len(step)
    ranks = np.empty(n)
    ranks[np.argsort(step, kind="stable")] = np.arange(1, n + 1)
    z: Array = torch.special.ndtri(torch.from_numpy(ranks / (n + 1))).numpy()
    if abs(correlation) == 1:
        exact: Array = z * correlation
        return exact
    r = 2 * np.sin(np.pi * correlation / 6)
    drawn = randomness.normal(randomness.keys(seed, "partition.correlation", torch.arange(n), 0), 1)[:, 0].numpy()
    score: Array = r * z + np.sqrt(1 - r * r) * drawn
    return score
