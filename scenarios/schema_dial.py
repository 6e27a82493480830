"""The one dial: what `heterogeneity` says of a scenario's other keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenarios.schema import Partition

LEAST, MOST = 100.0, 0.05  # Dirichlet's alpha at 0 and at 1


def alpha(heterogeneity: float) -> float:
    """From nearly alike to nearly one class a client, evenly on a logarithmic scale."""
    return float(f"{LEAST ** (1 - heterogeneity) * MOST**heterogeneity:.6g}")


def dialled(partition: Partition, heterogeneity: float) -> Partition:
    """The partition that the dial means. Raises: ValueError where the file says otherwise."""
    wanted = {"scheme": "dirichlet", "alpha": alpha(heterogeneity)}
    for key, value in wanted.items():
        said = getattr(partition, key)
        if key in partition.model_fields_set and said != value:
            told = f"heterogeneity = {heterogeneity:g} sets it to {value!r}"
            raise ValueError(f"partition.{key} = {said!r}: {told}; remove one of the two")
    return partition.model_copy(update=wanted)
