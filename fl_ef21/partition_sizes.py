"""Quantity skew: how many samples each client holds.

    linear, square, exponential   client i holds a share proportional to i + 1, (i + 1)^2, exp(i + 1)
    log-normal                    sizes ~ exp(sigma z), z standard normal
    inner-dirichlet               such sizes, and every client a class mix ~ Dirichlet(alpha)

The partitioners are those of flwr-datasets; samples are shuffled first, so that but for inner-dirichlet sizes alone
differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from fl_ef21.data.base import Whole
from fl_ef21.errors import InputError

Parts = Callable[[Any, Whole, Whole], list[Whole]]


def by_id(scheme: str, clients: int, samples: int, seed: int, parts: Parts) -> list[Whole]:
    """Of linear, square and exponential. Raises: InputError where somebody would have nothing.

    parts: what a partitioner does with rows and their labels.
    """
    from flwr_datasets import partitioner as known

    made = {"linear": known.LinearPartitioner, "square": known.SquarePartitioner,
            "exponential": known.ExponentialPartitioner}[scheme](clients)  # fmt: skip
    rows = np.random.default_rng(seed).permutation(samples)
    try:
        return parts(made, rows, rows)
    except (ValueError, IndexError):
        advice = f"{scheme} gives some of {clients} clients none of {samples} samples; fewer clients, or log-normal"
        raise InputError("partition.scheme", scheme, advice) from None


def log_normal(clients: int, samples: int, seed: int, sigma: float, least: int, parts: Parts) -> list[Whole]:
    """Sizes that spread by `sigma`, and nothing else that differs. Raises: InputError."""
    from flwr_datasets.partitioner import SizePartitioner

    rows = np.random.default_rng(seed).permutation(samples)
    return parts(SizePartitioner(sizes(clients, samples, seed, sigma, least)), rows, rows)


def inner_dirichlet(
    clients: int, labels: Whole, seed: int, sigma: float, alpha: float, least: int, parts: Parts
) -> list[Whole]:
    """Sizes as of log-normal, and a class mix of each client's own. Raises: InputError."""
    from flwr_datasets.partitioner import InnerDirichletPartitioner

    wanted = sizes(clients, len(labels), seed, sigma, least)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return parts(InnerDirichletPartitioner(wanted, "label", alpha, seed=seed), np.arange(len(labels)), labels)


def sizes(clients: int, samples: int, seed: int, sigma: float, least: int) -> list[int]:
    """`least` for everybody, and of the rest shares ~ exp(sigma z), by largest remainders; they sum to `samples`.

    Raises: InputError where there are too few samples.
    """
    rest = samples - clients * least
    if rest < 0:
        advice = f"{clients} clients need more than the {samples} training samples"
        raise InputError("partition.min_samples", least, advice)
    share = np.exp(sigma * np.random.default_rng([seed, clients]).standard_normal(clients))
    exact = rest * share / share.sum()
    found = np.floor(exact).astype(np.int64)
    found[np.argsort(found - exact, kind="stable")[: rest - int(found.sum())]] += 1
    return (found + least).tolist()  # type: ignore[no-any-return]
