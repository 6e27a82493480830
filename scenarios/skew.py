"""What makes clients differ besides the partition: features, who owns rare classes, and one dial over it all.

correlation    +1: the slowest devices own the rarest classes, -1: the quickest; in between by a Gaussian copula
heterogeneity  0: all clients alike, 1: as different as it gets; moves data, speeds and availability together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fl_ef21 import feature_skew
from fl_ef21.blocks import Array
from fl_ef21.data import Dataset
from fl_ef21.errors import InputError
from fl_ef21.rarity import correlated
from scenarios import fleets
from scenarios.schema import Scenario


def skewed(scenario: Scenario, dataset: Dataset, parts: Sequence[Array]) -> tuple[Dataset, list[Array]]:
    """Which part each client gets, and what its instrument makes of it. Raises: InputError."""
    wanted, found = scenario.partition, list(parts)
    if wanted.correlation:
        found = _correlated(scenario, dataset, found)
    if wanted.features is not None:
        features = feature_skew.skewed(wanted.features, dataset.features, found, scenario.seed)
        dataset = replace(dataset, features=features)
    return dataset, found


def _correlated(scenario: Scenario, dataset: Dataset, parts: list[Array]) -> list[Array]:
    """The parts in another order: a client's rank by rarity goes with its device's rank by slowness."""
    rho = scenario.partition.correlation
    if scenario.devices is None:
        advice = "needs [devices]: it ties classes to how slow devices are; add the section, or remove it"
        raise InputError("partition.correlation", rho, advice)
    if scenario.partition.scheme == "natural":
        advice = "has no meaning where clients are those of the data: they have the devices they are dealt"
        raise InputError("partition.correlation", rho, advice)
    n, classes = len(parts), len(dataset.classes)
    counts = np.stack([np.bincount(dataset.labels[part], minlength=classes) for part in parts])
    return correlated(parts, counts, fleets.steps(scenario, n), rho, scenario.seed)
