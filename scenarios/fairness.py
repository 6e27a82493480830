"""Who is left behind: what a method's last model gives each client, and how often each client's work was used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fl_ef21.blocks import Array
from fl_ef21.each import Each
from scenarios.spreads import Figures, quartiles, spearman, spread

MEASURES = {"loss": False, "accuracy": True, "test_accuracy": True}  # and whether low is bad
ROUND = ("worst_decile_loss", "worst_decile_accuracy", "jain_accuracy")  # of a row, with evaluate.fairness = "rounds"
_SIZES = ("smallest", "small", "large", "largest")


@dataclass(frozen=True)
class Clients:
    """A method's clients at its end.

    Attributes:
      each: what the model gives them.
      asked, used: (n,) rounds in which each was asked, and in which its message was added.
      kinds: (n,) classes of their devices; empty without devices.
      step_seconds: (n,) of a gradient step of their devices, NaN without.
    """

    each: Each
    asked: Array
    used: Array
    kinds: Sequence[str]
    step_seconds: Array

    def columns(self) -> dict[str, Any]:
        """Those of fairness.parquet, but for the method."""
        n, e = len(self.asked), self.each
        kinds = list(self.kinds) or [""] * n
        return {
            "client": np.arange(n), "samples": e.samples, "loss": e.loss, "accuracy": e.accuracy,
            "test_accuracy": e.test_accuracy, "device_class": kinds, "asked": self.asked, "used": self.used,
        }  # fmt: skip


def figures(clients: Clients) -> dict[str, Any]:
    """`fairness` of a method in summary.json."""
    e = clients.each
    found: dict[str, Any] = {name: spread(getattr(e, name), low) for name, low in MEASURES.items()}
    name = _main(found)
    main = found[name] or {}
    found |= {"of": name, "worst_decile": main.get("worst_decile"), "jain": main.get("jain")}
    found["by_class"] = [_group(clients, rows, {"class": kind}) for kind, rows in _classes(clients.kinds)]
    found["by_size"] = _by_size(clients)
    others = {"participation": clients.used, "step_seconds": clients.step_seconds, "samples": e.samples}
    for word, other in others.items():
        values = np.asarray(other, dtype=np.float64)
        found[f"correlation_with_{word}"] = {name: spearman(getattr(e, name), values) for name in MEASURES}
    return found


def round_figures(each: Each | None) -> dict[str, float | None]:
    """What an evaluated row says; all None where nothing was measured."""
    if each is None:
        return dict.fromkeys(ROUND)
    loss, accuracy = spread(each.loss, False) or {}, _accuracy(each) or {}
    return dict(zip(ROUND, (loss.get("worst_decile"), accuracy.get("worst_decile"), accuracy.get("jain")), strict=True))


def final_figures(fairness: Mapping[str, Any] | None) -> dict[str, float | None]:
    """The same of a method's `fairness`, for tables of methods."""
    told = fairness or {}
    loss, accuracy = told.get("loss") or {}, told.get("test_accuracy") or told.get("accuracy") or {}
    return dict(zip(ROUND, (loss.get("worst_decile"), accuracy.get("worst_decile"), accuracy.get("jain")), strict=True))


def _accuracy(each: Each) -> Figures | None:
    return spread(each.test_accuracy, True) or spread(each.accuracy, True)


def _main(found: Mapping[str, Any]) -> str:
    """What fairness is told of: test accuracy, else that on own samples, else the loss."""
    return next((name for name in ("test_accuracy", "accuracy") if found[name] is not None), "loss")


def _classes(kinds: Sequence[str]) -> list[tuple[str, Array]]:
    names = np.array(kinds, dtype=object)
    return [(kind, np.flatnonzero(names == kind)) for kind in sorted(set(kinds))]


def _by_size(clients: Clients) -> list[dict[str, Any]]:
    """A row for each quarter of the clients by their number of samples; none where all have as many."""
    sizes = clients.each.samples
    known = np.flatnonzero(np.isfinite(sizes))
    if not len(known) or sizes[known].min() == sizes[known].max():
        return []
    groups = [known[rows] for rows in quartiles(sizes[known])]
    return [
        _group(clients, rows, {"size": name, "samples": [int(sizes[rows].min()), int(sizes[rows].max())]})
        for name, rows in zip(_SIZES, groups, strict=False)
    ]


def _group(clients: Clients, rows: Array, about: dict[str, Any]) -> dict[str, Any]:
    """Means over some of the clients, and the worst decile of the figure that fairness is told of."""
    asked, used = int(clients.asked[rows].sum()), int(clients.used[rows].sum())
    told: dict[str, Any] = about | {"clients": len(rows), "asked": asked, "used": used}
    for name, low in MEASURES.items():
        some = spread(getattr(clients.each, name)[rows], low)
        told |= {name: some and some["mean"], f"worst_{name}": some and some["worst_decile"]}
    return told
