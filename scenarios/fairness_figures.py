"""Who is served how well, as the page draws it: quantiles over clients, and each client by how often it was used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fl_ef21.errors import InputError
from scenarios import sections, units
from scenarios.results import Result
from scenarios.sections import Entry

if TYPE_CHECKING:
    from pandas import DataFrame

CLIENTS = "fairness.parquet"  # as fairness_file calls it, which needs pyarrow
MEASURES = {
    "accuracy": "accuracy on own samples",
    "test_accuracy": "test accuracy by own labels",
    "loss": "loss on own samples",
}
STEPS = 100  # of a quantile curve
DOTS = 2000  # clients drawn, of all methods together
Drawn = dict[str, Any]


def read(folder: Path | None) -> DataFrame | None:
    """fairness.parquet; None where the run has none. Raises: InputError that names the file where it is broken."""
    if folder is None or not (folder / CLIENTS).is_file():
        return None
    from scenarios import fairness_file

    frame = fairness_file.read(folder)
    if missing := [name for name in fairness_file.COLUMNS if name not in frame]:
        raise InputError(str(folder / CLIENTS), sorted(frame), f"lacks the columns {', '.join(missing)}")
    return frame


def points(result: Result, entries: Sequence[Entry], shown: int | None = None) -> list[Drawn | None]:
    """What the page draws of each method of a run, None where nothing was measured; `shown` methods are on the page.

    `quantiles` has STEPS + 1 values of each of MEASURES from the lowest client to the highest, None where nobody has
    it; `clients` has [client, times used, samples, class, then each of MEASURES], about DOTS at most, evenly taken.
    """
    frame = read(result.folder)
    if frame is None:
        return [None] * len(entries)
    rows = dict(iter(frame.groupby("method", sort=False)))
    most = max(20, DOTS // max(1, shown or len(rows)))
    return [None if (own := rows.get(m.method["label"])) is None else _of(own, most) for m in entries]


def _of(own: DataFrame, most: int) -> Drawn:
    steps = [i / STEPS for i in range(STEPS + 1)]
    known = {key: [v for v in own[key].tolist() if units.finite(v) is not None] for key in MEASURES}
    quantiles = {key: [_short(v) for v in np.quantile(some, steps)] if some else None for key, some in known.items()}
    last = len(own) - 1
    keep = list(range(len(own))) if last < most else [i * last // (most - 1) for i in range(most)]
    some = own.iloc[keep]
    samples = [units.finite(v) for v in some["samples"].tolist()]  # not known where they lie on devices
    columns = [some["client"].tolist(), some["used"].tolist(), samples, some["device_class"].tolist()]
    columns += [[_short(v) for v in some[key].tolist()] for key in MEASURES]
    return {"quantiles": quantiles, "clients": [list(row) for row in zip(*columns, strict=True)]}


def _short(value: float) -> float | None:
    number = units.finite(value)
    return None if number is None else float(f"{number:.4g}")


def measured(drawn: Sequence[Drawn | None]) -> dict[str, str]:
    """Those of MEASURES that some method has."""
    return {key: name for key, name in MEASURES.items() if any(one and one["quantiles"][key] for one in drawn)}


def section_body(drawn: Sequence[Drawn | None]) -> str:
    """Both figures, as HTML; empty where nothing was measured."""
    known = measured(drawn)
    if not known:
        return ""
    first = next(iter(known))
    apart = any(len({row[1] for row in one["clients"]}) > 1 for one in drawn if one is not None)
    return (
        f"{sections.segments('fairness', 'measure', known)}"
        '<div class="figures"><figure><figcaption><h3>Over clients</h3><p>clients in the order of the measure: a flat '
        "line serves everybody alike</p></figcaption>"
        f'<div class="plot" role="img" aria-label="Quantiles over clients" data-quantiles="{first}"></div></figure>'
        f"{_by_participation(first) if apart else ''}</div>"
    )


def _by_participation(first: str) -> str:
    return (
        "<figure><figcaption><h3>By participation</h3><p>each client by how often its reply was used</p></figcaption>"
        f'<div class="plot" role="img" aria-label="Each client by participation" data-served="{first}"></div></figure>'
    )
