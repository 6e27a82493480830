"""Whose samples are here: everybody's in a simulation, one client's on a device, nobody's on a server of devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl_ef21 import data, partition
from fl_ef21.data import Dataset
from fl_ef21.data.files import Form, none, one
from fl_ef21.errors import InputError
from fl_ef21.problems.attacks import COLLUDES, FLIPS
from scenarios.schema import Scenario
from scenarios.skew import skewed

FILES = "files"  # the source of which each client has a file of its own
FIELD = "node-config.data-path"  # where a device is told of it


@dataclass(frozen=True)
class Own:
    """Where a device finds its samples.

    Attributes:
      client: its number.
      path: node-config's data-path.
    """

    client: int
    path: str


@dataclass(frozen=True)
class Samples:
    """A data set and who holds what of it.

    Attributes:
      parts: each client's training samples, row numbers; empty where they lie elsewhere.
      held: the clients whose samples are here.
    """

    dataset: Dataset
    parts: Sequence[np.ndarray]
    held: range

    @property
    def partial(self) -> bool:
        """Whether some clients' samples lie elsewhere."""
        return len(self.held) < len(self.parts)


def find(scenario: Scenario, own: Own | None, elsewhere: bool) -> Samples:
    """The samples that are here. Raises: InputError.

    own: of a device that was told where its file is. elsewhere: clients may have theirs on devices, so that there need
    be none here.
    """
    if own is not None or scenario.data.source == FILES:
        samples = _files(scenario, elsewhere) if own is None else _own(scenario, own)
        if samples.partial:
            _check_apart(scenario, own is not None)
        return samples
    dataset = data.load(scenario.data.source, **given(scenario.data, ("source",)))
    wanted = scenario.partition
    parts = partition.split(
        dataset, clients=wanted.clients, scheme=wanted.scheme, seed=scenario.seed, alpha=wanted.alpha,
        classes_per_client=wanted.classes_per_client, min_samples=wanted.min_samples, sigma=wanted.sigma,
    )  # fmt: skip
    return Samples(*skewed(scenario, dataset, parts), range(wanted.clients))


def useless(scenario: Scenario, own: Own) -> InputError:
    """What is wrong where a device was told of a file and has no use for it."""
    advice = f"has no meaning with the model {scenario.model.name!r}, which is not over samples; remove it"
    return InputError(FIELD, own.path, advice)


def given(section: Any, besides: Sequence[str]) -> dict[str, Any]:
    """The keys of a section that say something."""
    return {key: value for key, value in section if value is not None and key not in besides}


def _files(scenario: Scenario, elsewhere: bool) -> Samples:
    n, path = scenario.partition.clients, scenario.data.path
    if elsewhere and (path is None or not Path(path).exists()):
        form = Form.of(**given(scenario.data, ("source", "path", "test_path")))
        return _taken(none(form, scenario.data.test_path), n, range(0))
    dataset = data.load(FILES, **given(scenario.data, ("source",)))
    if len(dataset.group_names) != n:
        advice = f"but there are files of {len(dataset.group_names)} clients in data.path = {path!r}"
        raise InputError("partition.clients", n, advice)
    return _checked(scenario, _taken(dataset, n, range(n)))


def _own(scenario: Scenario, own: Own) -> Samples:
    n = scenario.partition.clients
    if scenario.data.source != FILES:
        advice = f"has no meaning with data.source = {scenario.data.source!r}, of which a client takes its part by its "
        raise InputError(FIELD, own.path, advice + 'partition-id; remove it, or set source = "files"')
    if not 0 <= own.client < n:
        raise InputError("node-config.partition-id", own.client, f"the scenario has {n} clients, from 0 to {n - 1}")
    form = Form.of(**given(scenario.data, ("source", "path", "test_path")))
    mine = one(form, own.client, FIELD, Path(own.path))
    return _checked(scenario, _taken(mine, n, range(own.client, own.client + 1)))


def _taken(dataset: Dataset, clients: int, held: range) -> Samples:
    """Each client has the rows that are its own: those of a file follow one another."""
    owners = np.empty(0, np.int64) if dataset.groups is None else dataset.groups
    ends = np.searchsorted(owners, np.arange(clients + 1))
    return Samples(dataset, [np.arange(ends[i], ends[i + 1]) for i in range(clients)], held)


def _checked(scenario: Scenario, samples: Samples) -> Samples:
    """Raises: InputError where a client that is here has too few samples."""
    least = scenario.partition.min_samples
    for i in samples.held:
        if len(samples.parts[i]) < least:
            told = f"client {i} has {len(samples.parts[i])} samples to train on"
            raise InputError("partition.min_samples", least, told)
    return samples


def _check_apart(scenario: Scenario, device: bool) -> None:
    """Raises: InputError for what needs samples that lie elsewhere."""
    attack, where, norm = scenario.attack, scenario.evaluate.where, scenario.stop.grad_norm_sq
    if attack is not None and attack.name in (*FLIPS, *COLLUDES):
        advice = "needs the samples of all attackers in one place; take sign-flip or sleeper where clients keep theirs"
        raise InputError("attack.name", attack.name, advice)
    if device:
        return
    if where == "server":
        advice = 'the server holds no samples; take "auto" or "clients", or give it data.path, the folder of all files'
        raise InputError("evaluate.where", where, advice)
    if norm is not None:
        advice = "needs the full gradient, which no server without samples has; stop at target_accuracy or bytes"
        raise InputError("stop.grad_norm_sq", norm, advice)
