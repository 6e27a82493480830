"""Who holds which training samples: a data set's rows split over clients.

    iid            every client a random share, sizes differing by at most one
    dirichlet      every class split in proportions ~ Dirichlet(alpha) (Hsu, Qi, Brown. arXiv 1909.06335)
    pathological   a few classes per client, every class shared evenly by those who have it
    natural        the data set's own clients
    label-sorted   sorted by label and cut into equal shards, as in the EF21 papers

and those of `partition_sizes`, in which clients hold different amounts. All but the last are those of flwr-datasets; of
`iid`, which only cuts, a test says that it is the same.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Any

import numpy as np

from fl_ef21 import partition_sizes as sizes
from fl_ef21.data.base import Dataset, Whole, whole
from fl_ef21.errors import InputError, choose


@dataclass(frozen=True)
class Split:
    """What a scheme is asked for; the arguments of `split`."""

    clients: int
    seed: int
    alpha: float
    classes_per_client: int
    min_samples: int
    sigma: float


def split(
    dataset: Dataset,
    *,
    clients: int,
    scheme: str,
    seed: int,
    alpha: float = 0.3,
    classes_per_client: int = 2,
    min_samples: int = 1,
    sigma: float = 1.0,
) -> list[Whole]:
    """The training samples of every client: sorted row numbers, disjoint, none empty.

    alpha: of `dirichlet` and `inner-dirichlet`, > 0; small is skewed.
    classes_per_client: of `pathological`. With fewer clients than classes, samples of classes that
      nobody drew are left out; every other scheme hands out all samples.
    min_samples: the fewest a client may have, >= 1.
    sigma: of `log-normal` and `inner-dirichlet`, the spread of sizes, >= 0.
    Raises: InputError where that cannot be done, naming what to change.
    """
    make = choose(SCHEMES, scheme, "partition.scheme")
    whole("partition.clients", clients, 1)
    whole("partition.seed", seed, 0)
    whole("partition.min_samples", min_samples, 1)
    if clients > len(dataset):
        raise InputError("partition.clients", clients, f"is more than the {len(dataset)} training samples")
    parts = make(dataset, Split(clients, seed, alpha, classes_per_client, min_samples, sigma))
    parts = [np.sort(part).astype(np.int64) for part in parts]
    least = min(len(part) for part in parts)
    if least < min_samples:
        raise InputError("partition.min_samples", min_samples, f"with {clients} clients one has only {least} samples")
    return parts


def label_counts(dataset: Dataset, parts: Sequence[Whole]) -> Whole:
    """Samples of each class that each client holds: (clients, classes) int64."""
    classes = len(dataset.classes)
    return np.stack([np.bincount(dataset.labels[part], minlength=classes) for part in parts])


def _iid(dataset: Dataset, ask: Split) -> list[Whole]:
    """Cut as IidPartitioner of flwr-datasets does, which takes a millisecond for every client."""
    return np.array_split(np.random.default_rng(ask.seed).permutation(len(dataset)), ask.clients)


def _dirichlet(dataset: Dataset, ask: Split) -> list[Whole]:
    from flwr_datasets.partitioner import DirichletPartitioner

    alpha = _alpha(ask)
    if ask.clients * ask.min_samples > len(dataset):
        raise InputError(
            "partition.min_samples",
            ask.min_samples,
            f"{ask.clients} clients need more than the {len(dataset)} training samples",
        )
    partitioner = DirichletPartitioner(
        ask.clients,
        "label",
        alpha=float(alpha),
        min_partition_size=ask.min_samples,
        self_balancing=False,
        seed=ask.seed,
    )
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The specified min_partition_size", UserWarning)
            return _parts(partitioner, np.arange(len(dataset)), label=dataset.labels)
    except ValueError:
        raise InputError(
            "partition.alpha",
            alpha,
            f"no draw gave each of {ask.clients} clients {ask.min_samples} of the {len(dataset)} samples; "
            "raise alpha, or lower clients or min_samples",
        ) from None


def _alpha(ask: Split) -> float:
    alpha = ask.alpha
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 1e6:
        raise InputError("partition.alpha", alpha, "must lie in (0, 1e6]")
    return float(alpha)


def _sized(scheme: str) -> Callable[[Dataset, Split], list[Whole]]:
    """One of those in which clients hold different amounts."""

    def make(dataset: Dataset, ask: Split) -> list[Whole]:
        if not 0 <= ask.sigma <= 10:
            raise InputError("partition.sigma", ask.sigma, "must lie in [0, 10]")
        if scheme == "log-normal":
            return sizes.log_normal(ask.clients, len(dataset), ask.seed, ask.sigma, ask.min_samples, _labelled)
        if scheme == "inner-dirichlet":
            alpha, spread = _alpha(ask), ask.sigma
            return sizes.inner_dirichlet(
                ask.clients, dataset.labels, ask.seed, spread, alpha, ask.min_samples, _labelled
            )
        return sizes.by_id(scheme, ask.clients, len(dataset), ask.seed, _labelled)

    return make


def _labelled(partitioner: Any, rows: Whole, labels: Whole) -> list[Whole]:
    return _parts(partitioner, rows, label=labels)


def _pathological(dataset: Dataset, ask: Split) -> list[Whole]:
    from flwr_datasets.partitioner import PathologicalPartitioner

    each = whole("partition.classes_per_client", ask.classes_per_client, 1, len(dataset.classes))
    partitioner = PathologicalPartitioner(ask.clients, "label", each, "first-deterministic", seed=ask.seed)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Classes: .* will NOT be used", UserWarning)
            return _parts(partitioner, np.arange(len(dataset)), label=dataset.labels)
    except ValueError:
        raise InputError(
            "partition.clients",
            ask.clients,
            f"with {each} classes each, more clients hold some class than it has samples; "
            "lower clients or classes_per_client",
        ) from None


def _natural(dataset: Dataset, ask: Split) -> list[Whole]:
    """One client per group; with fewer clients, group i goes to client i modulo their number."""
    from flwr_datasets.partitioner import NaturalIdPartitioner

    if dataset.groups is None:
        raise InputError("partition.scheme", "natural", f"the data set {dataset.name!r} names no clients")
    groups = len(dataset.group_names)
    if ask.clients > groups:
        raise InputError("partition.clients", ask.clients, f"is more than the {groups} clients in the data")
    with redirect_stderr(io.StringIO()):  # a progress bar that cannot be turned off
        rows = np.arange(len(dataset))
        return _parts(NaturalIdPartitioner("client"), rows, client=dataset.groups % ask.clients)


def _label_sorted(dataset: Dataset, ask: Split) -> list[Whole]:
    return np.array_split(np.argsort(dataset.labels, kind="stable"), ask.clients)


def _parts(partitioner: Any, rows: Whole, **columns: Whole) -> list[Whole]:
    """What a partitioner of flwr-datasets does with `rows`, each described by `columns`."""
    import datasets

    table = datasets.Dataset.from_dict({"row": rows, **columns})
    partitioner.dataset = table.with_format("arrow")  # without it each part is converted for milliseconds
    return [np.asarray(partitioner.load_partition(i)["row"][:]) for i in range(partitioner.num_partitions)]


SCHEMES: dict[str, Callable[[Dataset, Split], list[Whole]]] = {
    "dirichlet": _dirichlet,
    "exponential": _sized("exponential"),
    "iid": _iid,
    "inner-dirichlet": _sized("inner-dirichlet"),
    "label-sorted": _label_sorted,
    "linear": _sized("linear"),
    "log-normal": _sized("log-normal"),
    "natural": _natural,
    "pathological": _pathological,
    "square": _sized("square"),
}
