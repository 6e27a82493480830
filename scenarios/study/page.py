"""study.html: what a study showed, in one file without script or network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape as e
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios import sections, units
from scenarios.page import save
from scenarios.page_style import STYLE
from scenarios.report import section
from scenarios.study import drawing
from scenarios.study.bootstrap import Mean
from scenarios.study.form import TO_TARGET

if TYPE_CHECKING:
    from scenarios.study.results import Results, Row

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_MORE = """
.heat td { text-align: center; } .heat small { display: block; color: inherit; opacity: .75; }
.heat td.best { font-weight: 700; } .heat td.best::before { content: "★ "; }
"""
_WORDS = {
    "test_accuracy": "test accuracy", "train_loss": "training loss", "grad_norm_sq": "‖∇f‖²",
    "bytes_to_accuracy": "uplink to the target accuracy", "seconds_to_accuracy": "virtual time to the target accuracy",
}  # fmt: skip


def write(results: Results, path: Path) -> Path:
    """The same results give the same bytes."""
    study, rows = results.study, results.rows
    objective, arms = study.objective, list(dict.fromkeys(row.arm.name for row in rows))
    seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)}"
    settings = len({row.arm.where for row in rows})
    lede = (
        f"{len(arms)} methods in {settings} setting{'s' * (settings > 1)}, each with {seeds}, by {_WORDS[objective]}"
        + (f" {study.target:.1%}." if study.target is not None else ".")
    )
    top = f'<p class="eyebrow">fl_ef21 · study</p><h1>{e(study.name)}</h1><p class="lede">{e(lede)}</p>'
    top += sections.notices(list(results.warnings))
    body = section("heat", "Who does best where", _heat(results)) + section(
        "fronts", "What it cost", _fronts(rows, objective)
    )
    if study.baseline is not None:
        body += section("paired", f"Against {study.baseline}", _paired(results))
    body += section("tuning", "How each was tuned", _tuning(results))
    return save(_document(study.name, top, body), path)


def _document(title: str, top: str, body: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{e(title)} · study</title>
<link rel="icon" href="data:,">
<style>{STYLE}{_MORE}</style>
</head>
<body>
<header class="top">{top}</header>
<main>{body}</main>
<footer>Intervals are 95 % bootstrap percentiles of the mean over seeds; differences are paired by seed. Bytes are
payloads of all clients together; 1 kB is 1,000 bytes. The figures lie beside this page in table.csv and
results.parquet.</footer>
</body>
</html>
"""


def _heat(results: Results) -> str:
    """A table of methods by settings, coloured by the objective."""
    objective, rows = results.study.objective, results.rows
    wheres, names = list(dict.fromkeys(r.arm.where for r in rows)), list(dict.fromkeys(r.arm.name for r in rows))
    at = {(row.arm.name, row.arm.where): row for row in rows}
    looks = drawing.styles(rows)
    head = '<th scope="col">method</th>' + "".join(f'<th scope="col">{e(where or "all")}</th>' for where in wheres)
    body = []
    for name in names:
        cells = "".join(
            _cell(at.get((name, where)), [at.get((n, where)) for n in names], objective) for where in wheres
        )
        look = looks[next(row.arm.label for row in rows if row.arm.name == name)]
        body.append(f'<tr><th scope="row">{sections.swatch(look)}{e(name)}</th>{cells}</tr>')
    told = f"Mean {_WORDS[objective]} with its interval; a column is coloured from worst to best, which has a star."
    return f'<div class="heat">{sections.scrolling_table(told, head, body)}</div>'


def _cell(row: Row | None, column: Sequence[Row | None], objective: str) -> str:
    if row is None:
        return "<td></td>"
    values = [r.means[objective].mean for r in column if r is not None and math.isfinite(r.means[objective].mean)]
    mean = row.means[objective]
    if not math.isfinite(mean.mean):
        return f"<td>{drawing.read(objective, mean.mean) if mean.n else 'diverged'}</td>"
    low, high = min(values), max(values)
    larger = objective == "test_accuracy"
    share = 1.0 if high == low else (mean.mean - low) / (high - low)
    share = share if larger else 1 - share
    best = " class=best" if mean.mean == (high if larger else low) else ""
    colour = f"background:color-mix(in srgb, var(--h1) {round(85 * share)}%, transparent)"
    inside = f"{drawing.read(objective, mean.mean)}<small>{_interval(mean, objective)}</small>"
    return f'<td{best} style="{colour}">{inside}</td>'


def _interval(mean: Mean, figure: str) -> str:
    if not math.isfinite(mean.low):
        return f"n = {mean.n}"
    return f"{drawing.read(figure, mean.low)} to {drawing.read(figure, mean.high)}"


def _fronts(rows: Sequence[Row], objective: str) -> str:
    y = objective if objective not in TO_TARGET else "test_accuracy"
    told = (
        "<p>The dashed line leads along the front: no other method of that setting is better for fewer bytes and less "
        "time. Bars are intervals, numbers beside points say what a method was varied in.</p>"
    )
    drawn = [drawing.against(rows, y, x) for x in ("uplink_bytes", "virtual_seconds")]
    return told + "".join(f"<figure>{one}</figure>" for one in drawn if one)


def _paired(results: Results) -> str:
    objective = results.study.objective
    head = "".join(f'<th scope="col">{name}</th>' for name in ("method", "setting", "difference", "interval", "pairs"))
    body = []
    for row in results.rows:
        if (d := row.difference) is None:
            continue
        said = _signed(objective, d.mean)
        between = "" if not math.isfinite(d.low) else f"{_signed(objective, d.low)} to {_signed(objective, d.high)}"
        body.append(
            f'<tr><th scope="row">{e(row.arm.name)}</th><td class="text">{e(row.arm.where)}</td><td>{said}</td>'
            f"<td>{between}</td><td>{d.n}</td></tr>"
        )
    told = f"{_WORDS[objective].capitalize()} less that of {results.study.baseline}, seed by seed"
    return sections.scrolling_table(told, head, body)


def _signed(figure: str, value: float) -> str:
    if not math.isfinite(value):
        return units.NONE
    if figure == "test_accuracy":
        return f"{100 * value:+.2f} points".replace("-", "\N{MINUS SIGN}")
    return ("+" if value > 0 else "\N{MINUS SIGN}" if value < 0 else "") + drawing.read(figure, abs(value))


def _tuning(results: Results) -> str:
    names = ("method", "setting", "best candidate", "candidates", "pruned", "rounds spent", "on the front")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = []
    for row in results.rows:
        pruned = sum(one.candidate.pruned is not None for one in row.tried)
        chosen = row.best.candidate.changes or {"method.gamma": row.best.candidate.trials[0].gamma}
        said = ", ".join(
            f"{key.removeprefix('method.')} {units.short(v) if isinstance(v, float) else v}"
            for key, v in chosen.items()
        )
        body.append(
            f'<tr><th scope="row">{e(row.arm.name)}</th><td class="text">{e(row.arm.where)}</td>'
            f'<td class="text">{e(said)}</td><td>{len(row.tried)}</td><td>{pruned}</td>'
            f"<td>{units.count(row.spent)}</td><td>{'yes' if row.front else ''}</td></tr>"
        )
    return sections.scrolling_table("The candidate with the best mean over the seeds that are told", head, body)
