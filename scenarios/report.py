"""report.html: what one run showed, in one file that opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape as e
from pathlib import Path
from typing import Any

from scenarios import (
    chaos_text,
    devices_section,
    fairness_figures,
    fairness_section,
    goals,
    heterogeneity_section,
    pareto,
    sections,
    shadows,
    theory_section,
    units,
)
from scenarios.figures import Labels, X, curves, labels
from scenarios.headline import cards, lede
from scenarios.page import document, save
from scenarios.results import Result
from scenarios.sections import Entry
from scenarios.traffic_table import traffic_table

_POINTS, _STEPS = 6000, 2000  # of all curves together, and of what targets cost: half a megabyte


def write(folder: Path) -> Path:
    """Writes report.html from the files of a run folder alone, and returns its path.

    The same files give the same bytes. Raises: InputError where `folder` is no run folder.
    """
    result = Result.load(folder)
    entries = [Entry.of(result, i) for i in range(len(result.summary["methods"]))]
    name = str(result.summary.get("name", ""))
    top = (
        f'<p class="eyebrow">fl_ef21 · run report</p><h1>{e(name)}</h1><p class="lede">{e(lede(entries))}</p>'
        f"{chips(result)}{sections.notices(warnings(result))}{cards(entries)}"
    )
    spread = [found] if (found := distribution(result)) else []
    drawn, served = devices_section.timelines(result, entries), fairness_figures.points(result, entries)
    body = (
        curve_section(entries)
        + section("targets", "What a target cost", goals.section_body(entries))
        + optional("front", "Trade-offs", pareto.section_body(entries))
        + section("final", "Final figures", sections.final_table(entries) + sections.composite(entries))
        + optional("devices", "Devices", devices_section.section_body(entries, drawn, _clients(result)))
        + optional(
            "fairness", "Fairness", fairness_figures.section_body(served) + fairness_section.section_body(result)
        )
        + optional("theory", "Theory", theory_section.section_body(result, entries))
        + optional("shadows", "What others would have sent", shadows.section_body(result, entries))
        + optional("bytes", "Bytes", traffic_table(entries))
        + optional("heterogeneity", "How different clients are", heterogeneity_section.section_body(result))
        + optional("holders", "Who holds what", "".join(map(partition_figure, spread, range(1))))
        + section("origin", "Where it comes from", origin(result))
    )
    data = page_data([result], entries, spread, served)
    data |= {"shadows": shadows.points(result, entries), "timelines": drawn, "fates": devices_section.fates()}
    page = document(f"{name} · report", top, body, data)
    return save(page, Path(folder) / "report.html")


def section(id: str, title: str, inside: str) -> str:
    """A titled part of the page; `inside` is HTML."""
    return f'<section aria-labelledby="{id}"><h2 id="{id}">{e(title)}</h2>{inside}</section>'


def optional(id: str, title: str, inside: str) -> str:
    """The same; nothing where there is nothing inside."""
    return section(id, title, inside) if inside else ""


def _clients(result: Result) -> int | None:
    known = units.finite((result.summary.get("problem") or {}).get("clients"))
    return None if known is None else int(known)


def chips(result: Result) -> str:
    """What was trained on what, as HTML."""
    s = result.summary
    problem: dict[str, Any] = s.get("problem") or {}
    said = [str(problem[k]) for k in ("model", "data") if problem.get(k)]
    said += [f"d = {units.count(problem['dim'])}"] if problem.get("dim") else []
    said += [f"{units.count(problem[k])} {k}" for k in ("clients", "samples") if problem.get(k)]
    said += [f"{s['runtime']} runtime"] if s.get("runtime") else []
    said += [units.seconds(s["wall_seconds"])] if units.finite(s.get("wall_seconds")) is not None else []
    return f'<ul class="chips" aria-label="Setting">{"".join(f"<li>{e(t)}</li>" for t in said)}</ul>'


def warnings(result: Result) -> list[str]:
    """What went wrong in a run."""
    found = []
    if result.summary.get("status") == "interrupted":
        found.append("The run was interrupted; the figures show what was done until then.")
    if told := chaos_text.sentence(result.summary):
        found.append(f"The run was {told}.")
    for m in result.summary["methods"]:
        if m.get("status") in ("diverged", "failed"):
            found.append(f"{m['label']} {m['status']}" + (f": {m['reason']}." if m.get("reason") else "."))
        if m.get("rejected"):
            reasons = sorted((m.get("rejected_reasons") or {}).items())
            why = ": " + ", ".join(f"{n} for {reason}" for reason, n in reasons) if reasons else ""
            found.append(f"{units.count(m['rejected'])} messages of {m['label']} were refused{why}.")
        if m.get("abandoned_rounds"):
            some = units.count(m["abandoned_rounds"])
            found.append(f"Rounds of {m['label']} that were abandoned, as too few clients answered: {some}.")
        if out := m.get("quarantined"):
            gone = " and taken out of g" if m.get("evicted") else ""
            found.append(f"Clients of {m['label']} that were asked no more{gone}: {units.names(out)}.")
    return found


_FIGURES = (
    # column, heading, what it says, format under the pointer, format of the ticks, logarithmic
    ("train_loss", "Training loss", "f(x) over all samples of all clients", ".4~g", "", "auto"),
    ("grad_norm_sq", "Squared gradient norm", "‖∇f(x)‖², the quantity the theory bounds", ".3~g", "", "yes"),
    ("test_accuracy", "Test accuracy", "share of test samples predicted right", ".1%", ".1~%", "no"),
    (
        "invariant_error",
        "Invariant error",
        "how far g is from Σ wᵢ gᵢ: rounding alone, if all is well",
        ".2~g",
        "",
        "yes",
    ),
)


def curve_section(entries: Sequence[Entry]) -> str:
    """The figures with their common controls, as HTML. A figure nobody has numbers for is left out."""
    drawn = [
        f'<figure><figcaption><h3>{title}</h3><p>{what}</p></figcaption><div class="plot" role="img" '
        f'aria-label="{title} of each method; the last values are in the table of final figures" '
        f'data-y="{key}" data-hover="{hover}" data-tick="{tick}" data-log="{log}"></div></figure>'
        for key, title, what, hover, tick, log in _FIGURES
        if any(units.finite(v) is not None for entry in entries for v in entry.rounds[key].tolist())
    ]
    if not drawn:
        return section("curves", "Curves", "<p>No round was evaluated.</p>")
    radios = "".join(
        f'<label class="segment"><input type="radio" name="x" value="{key}"'
        f"{' checked' if key == 'round' else ''}><span>{name}</span></label>"
        for key, name in X.items()
        if any(units.finite(v) is not None for entry in entries for v in entry.rounds[key].tolist())
    )
    return section(
        "curves",
        "Curves",
        "<p>Click a method to hide or show it in every figure, double-click to see it alone. A method that "
        "diverged leaves the figure at its cross.</p>"
        f'<div class="controls"><fieldset><legend>x axis</legend>{radios}</fieldset><label class="check">'
        '<input type="checkbox" id="log-x"> logarithmic x</label><div class="legend" role="group" '
        f'aria-label="Methods shown">{"".join(map(_legend, entries))}</div></div>'
        f'<div class="figures">{"".join(drawn)}</div>',
    )


def _legend(entry: Entry) -> str:
    mark = " <small>diverged</small>" if entry.diverged else ""
    inside = f"{sections.swatch(entry.style)}<span>{e(entry.label)}{mark}</span>"
    return f'<button type="button" aria-pressed="true">{inside}</button>'


def distribution(result: Result) -> tuple[str, Labels] | None:
    """The partition in a sentence, and to draw; None where there are no labels."""
    p = result.summary.get("partition") or {}
    table, classes = p.get("label_counts") or [], p.get("classes") or []
    if not table or not classes:
        return None
    totals, held = sorted(map(sum, table)), sorted(sum(v > 0 for v in row) for row in table)
    middle = len(table) // 2
    said = (
        f"{p.get('scheme', '')} partition: each of {len(table):,} clients holds {totals[0]:,} to "
        f"{totals[-1]:,} samples (median {totals[middle]:,}) of {held[0]} to {held[-1]} classes "
        f"(median {held[middle]} of {len(classes)})."
    )
    spread = labels(classes, table)
    if spread.grouped:
        each = round(len(table) / len(spread.columns))
        said += f" Each column is the mean of about {each:,} clients with a like mix."
    return said.strip(), spread


def partition_figure(spread: tuple[str, Labels], number: int) -> str:
    """The place of the `number`-th label distribution, as HTML."""
    said, drawn = spread
    height = max(16, min(56, 7 + 1.3 * len(drawn.classes)))
    return (
        f"<p>{e(said)}</p><figure><figcaption><h3>Samples of each class</h3></figcaption>"
        f'<div class="plot" style="height:{height:g}rem" role="img" aria-label="Heat map: {e(said)}" '
        f'data-partition="{number}"></div></figure>'
    )


def origin(result: Result) -> str:
    """The command, the resolved scenario and the environment, as HTML."""
    s = result.summary
    command = f"<h3>Repeat it</h3>{sections.code(s['command'], 'command')}" if s.get("command") else ""
    text = sections.code(result.scenario, "scenario") if result.scenario else "<p>No scenario was kept.</p>"
    versions = sections.facts("Environment", result.environment) if result.environment else ""
    return f"{command}<h3>Scenario, as resolved</h3>{text}{versions}"


def page_data(
    results: Sequence[Result],
    entries: Sequence[Entry],
    spreads: Sequence[tuple[str, Labels]],
    served: Sequence[fairness_figures.Drawn | None],
) -> dict[str, Any]:
    """What the page's script draws and other programs may read, fit for JSON. `served`: fairness of each method."""
    points, steps = (max(2, min(1000, most // max(1, len(entries)))) for most in (_POINTS, _STEPS))
    more = theory_section.drawn(entries)
    methods = [
        {
            "label": entry.label,
            "run": entry.run,
            "diverged": entry.diverged,
            "style": asdict(entry.style),
            "final": plain(entry.method),
            "curves": curves(entry.rounds, points, more),
            "targets": goals.curves(entry, steps),
            "point": pareto.point(entry),
            **devices_section.of_method(entry),
            "fairness": one,
        }
        for entry, one in zip(entries, served, strict=True)
    ]
    runs = [
        {
            "name": r.summary.get("name"),
            "command": r.summary.get("command"),
            "status": r.summary.get("status"),
            "problem": plain(r.summary.get("problem")),
            "environment": plain(r.environment),
            "scenario": r.scenario,
        }
        for r in results
    ]
    return {
        "version": 1,
        "runs": runs,
        "methods": methods,
        "measures": list(fairness_figures.MEASURES.items()),
        "partitions": [asdict(drawn) for _, drawn in spreads],
    }


def plain(value: Any) -> Any:
    """The same with None for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return units.finite(value) if isinstance(value, float) else value
