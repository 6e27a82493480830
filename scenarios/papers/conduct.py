"""A paper's studies, run or gone on with, and what became of its claims."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from scenarios.folder import put
from scenarios.papers import drawing
from scenarios.papers.reading import Folder
from scenarios.papers.verdicts import Verdict, judge
from scenarios.study import conduct
from scenarios.study.results import Results
from scenarios.study.shown import Shown

OUTCOME = "outcome.json"


def run(
    folder: Folder, out: Path, *, sets: Sequence[str] = (), data: Path | None = None, small: bool = False,
    parallel: int | None = None, force: bool = False, shown: Shown | None = None,
) -> list[Verdict]:  # fmt: skip
    """Every study into a folder of its own under `out`, then the verdicts, also as `outcome.json`, and `curves.svg`.

    A study that is there already goes on, or is read where it is over. As `study.conduct.run` otherwise.
    """
    sources = {name: folder.source(name, sets, data, small) for name in folder.studies}
    found = dict[str, Results]()
    for name, source in sources.items():
        if (out / name / conduct.FILE).is_file():
            found[name] = conduct.resume(out / name, parallel=parallel, force=force, shown=shown)
        else:
            found[name] = conduct.run(source, out / name, parallel=parallel, shown=shown)
    verdicts = []
    for claim in folder.paper.claim:
        name = claim.study or next(iter(found))
        if told := judge(claim, found[name], out / name / conduct.TRIALS, small):
            verdicts.append(told)
    drawing.write(found, out)
    put(out / OUTCOME, json.dumps({"paper": folder.path.name, "small": small, "claims": told_of(verdicts)}, indent=1))
    return verdicts


def told_of(verdicts: Sequence[Verdict]) -> list[dict[str, object]]:
    """Fit for JSON."""
    return [
        {"says": v.claim.says, "figure": v.claim.figure, "at_least": v.bounds.at_least, "at_most": v.bounds.at_most,
         "mean": _plain(v.measured.mean), "low": _plain(v.measured.low), "high": _plain(v.measured.high),
         "seeds": v.measured.n, "holds": v.holds}
        for v in verdicts
    ]  # fmt: skip


def _plain(value: float) -> float | str | None:
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)
