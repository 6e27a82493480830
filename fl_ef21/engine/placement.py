"""Whether the actors find room on the nodes of a cluster, worked out before anything is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fl_ef21.engine.settings import Settings
from fl_ef21.errors import InputError

_UNIT = 10_000  # Ray counts resources in ten-thousandths


@dataclass(frozen=True)
class Node:
    """What a machine of the cluster has in all, in use or not."""

    name: str
    cpus: float
    gpus: float

    def holds(self, cpus: float, gpus: float) -> int:
        """How many actors with these shares (gpus <= 1) fit; a share of a GPU never spans two."""
        fit = _times(self.cpus, cpus)
        return fit if gpus == 0 else min(fit, int(self.gpus) * _times(1, gpus))


def _times(whole: float, part: float) -> int:
    return round(whole * _UNIT) // max(1, round(part * _UNIT))


def capacity(nodes: Sequence[Node], settings: Settings) -> int:
    """How many actors fit, node by node."""
    return sum(node.holds(settings.cpus_per_actor, settings.gpus_per_actor) for node in nodes)


def check(nodes: Sequence[Node], settings: Settings, actors: int) -> None:
    """Raises: InputError where the nodes cannot hold so many actors, or a single one fits nowhere."""
    cpus, gpus, fit = settings.cpus_per_actor, settings.gpus_per_actor, capacity(nodes, settings)
    if 0 < actors <= fit:
        return
    by_cpus = sum(node.holds(cpus, 0) for node in nodes)
    wants = f"an actor takes {_amount(cpus, 'CPU')}" + (f" and {_amount(gpus, 'GPU')}" if gpus else "")
    fits = f"{wants}; the nodes have {describe(nodes)}, so "
    if by_cpus == 0:
        largest = max((node.cpus for node in nodes), default=0)
        raise InputError("engine.cpus_per_actor", cpus, f"{fits}no node holds one; use at most {largest:g}")
    if gpus and fit < min(actors, by_cpus):
        few = f"{fit} of {actors} actors fit" if fit else "none fits"
        advice = f"{fits}{few}; use fewer actors or a smaller fraction, or 0 to compute on the CPU"
        raise InputError("engine.gpus_per_actor", gpus, advice)
    raise InputError("engine.actors", actors, f"{fits}{fit} fit; use fewer actors or a smaller engine.cpus_per_actor")


def describe(nodes: Sequence[Node]) -> str:
    """Such as '2 x (4 CPUs, 1 GPU), 1 x (8 CPUs, 0 GPUs)'."""
    kinds = Counter((node.cpus, node.gpus) for node in nodes if node.cpus or node.gpus)
    told = [f"{count} x ({_amount(c, 'CPU')}, {_amount(g, 'GPU')})" for (c, g), count in sorted(kinds.items())]
    return ", ".join(told) or "neither CPUs nor GPUs"


def _amount(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("" if number == 1 else "s")
