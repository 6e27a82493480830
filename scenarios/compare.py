"""Several runs side by side: one page, and one table with the bytes each method paid for the same result."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from html import escape as e
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_ef21.errors import InputError
from scenarios import devices_section, fairness_figures, goals, pareto, report, sections, units
from scenarios.figures import Labels, style
from scenarios.page import document, save
from scenarios.results import Result
from scenarios.sections import Entry
from scenarios.targets import bytes_to, weakest_best

if TYPE_CHECKING:
    from pandas import DataFrame

_TARGETS = {"grad_norm_sq": "‖∇f‖²", "train_loss": "training loss"}
# what two runs must share for their curves to differ by the methods alone
_SETTING = ("seed", "data", "partition", "model", "train")


def compare(folders: list[Path], out: Path) -> Path:
    """Writes one page about several run folders to `out`, and returns it.

    Raises: InputError where a folder is no run folder, or there are none.
    """
    results = _load(folders)
    names = run_names(results)
    entries = entries_of(results, names)
    spreads, shared = _distributions(results, names)
    served = [
        one
        for r, name in zip(results, names, strict=True)
        for one in fairness_figures.points(r, [entry for entry in entries if entry.run == name], len(entries))
    ]
    title = " · ".join(names) if len(names) < 4 else f"{len(names)} runs"
    lede = f"{len(entries)} methods of {len(results)} run{'s' * (len(results) > 1)}, side by side."
    top = f'<p class="eyebrow">fl_ef21 · comparison</p><h1>{e(title)}</h1><p class="lede">{e(lede)}</p>'
    top += sections.notices(unfair(results, names) + _troubles(results, names))
    parts = [
        report.curve_section(entries),
        report.section("final", "Final figures", sections.final_table(entries) + sections.composite(entries)),
        report.section("goals", "What a target cost", goals.section_body(entries)),
        report.section("targets", "What the same result cost", _target_table(entries)),
        report.optional("front", "Trade-offs", pareto.section_body(entries)),
        report.optional("devices", "Devices", devices_section.section_body(entries, ())),
        report.optional("fairness", "Fairness", fairness_figures.section_body(served)),
    ]
    if spreads:
        drawn = "".join(
            f"<h3>{e(who)}</h3>{report.partition_figure(s, i)}"
            for i, (who, s) in enumerate(zip(shared, spreads, strict=True))
        )
        parts.append(report.section("holders", "Who holds what", drawn))
    origins = "".join(
        f"<details><summary>{e(name)}</summary>{report.chips(r)}{report.origin(r)}</details>"
        for name, r in zip(names, results, strict=True)
    )
    parts.append(report.section("origin", "Where it comes from", origins))
    data = report.page_data(results, entries, spreads, served)
    return save(document(f"{title} · comparison", top, "".join(parts), data), Path(out))


def table(folders: list[Path]) -> DataFrame:
    """Final figures of all methods, one row each, and bytes_to_grad_norm_sq and bytes_to_train_loss: the
    uplink at which each first was as low as the weakest ever was (NaN where it never was); and
    bytes_to_uncompressed: to within 5 % of the final gradient norm of the uncompressed method; bytes_to_accuracy and
    seconds_to_accuracy (virtual): to the whole per cents of test accuracy that every method reached.

    `attrs["targets"]` holds the first two values, `attrs["accuracy"]` the last.

    Raises: InputError where a folder is no run folder.
    """
    from pandas import concat

    results = _load(folders)
    names = run_names(results)
    entries = entries_of(results, names)
    frames = [r.table() for r in results]
    for name, frame in zip(names, frames, strict=True):
        frame.insert(0, "run", name)
    whole = concat([f.astype(object) for f in frames], ignore_index=True)
    targets = _targets(entries)
    for key, target in targets.items():
        paid = [bytes_to(entry.rounds, key, target) for entry in entries]
        whole[f"bytes_to_{key}"] = [float("nan") if v is None else float(v) for v in paid]
    for name, column in goals.to_table(entries).items():
        whole[name] = column
    whole = whole.infer_objects()
    whole.attrs["targets"] = targets
    whole.attrs["accuracy"] = next(iter(goals.accuracies(entries)), None)
    return whole


def run_names(results: Sequence[Result]) -> list[str]:
    """A distinct name for each run: the scenario's, else the folder's, else numbered."""
    names = [str(r.summary.get("name", "")) for r in results]
    if len(set(names)) < len(names):
        names = [r.folder.resolve().name if r.folder else name for r, name in zip(results, names, strict=True)]
    again = Counter(names)
    return [f"{name} #{i}" if again[name] > 1 else name for i, name in enumerate(names, 1)]


def unfair(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    """In what the runs differ besides their methods, a sentence each."""
    settings = [_setting(r) for r in results]
    found = []
    for key in sorted({k for s in settings for k in s}):
        values = [json.dumps(s[key], sort_keys=True) if key in s else "the default" for s in settings]
        if len(set(values)) > 1:
            said = ", ".join(f"{value} in {name}" for name, value in zip(names, values, strict=True))
            found.append(f"The runs differ in {key}: {said}.")
    if len({json.dumps(r.environment, sort_keys=True) for r in results}) > 1:
        found.append("The runs are of different machines or versions: their wall times say little about the methods.")
    return found


def _setting(result: Result) -> dict[str, Any]:
    """The scenario's keys that a fair comparison shares, with dotted names."""
    try:
        told = tomllib.loads(result.scenario)
    except tomllib.TOMLDecodeError as error:
        raise InputError(str((result.folder or Path()) / "scenario.toml"), str(error), "is not TOML") from None
    flat: dict[str, Any] = {}
    for key in _SETTING:
        value = told.get(key)
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": v for inner, v in value.items()}
        elif value is not None:
            flat[key] = value
    return flat


def _load(folders: Sequence[Path]) -> list[Result]:
    if not folders:
        raise InputError("folders", [], "name at least one run folder")
    return [Result.load(folder) for folder in folders]


def entries_of(results: Sequence[Result], names: Sequence[str]) -> list[Entry]:
    """Every method of every run, with labels that are distinct: the run's name goes before what two runs share."""
    pairs = [(r, name, m) for r, name in zip(results, names, strict=True) for m in r.summary["methods"]]
    again = Counter(m["label"] for _, _, m in pairs)
    return [
        Entry(
            f"{name}: {m['label']}" if again[m["label"]] > 1 else m["label"],
            name,
            m,
            r.of(m["label"]),
            style(i),
        )
        for i, (r, name, m) in enumerate(pairs)
    ]


def _targets(entries: Sequence[Entry]) -> dict[str, float | None]:
    settled = [entry.rounds for entry in entries if entry.sound]
    return {key: weakest_best(settled, key) for key in _TARGETS}


def _target_table(entries: Sequence[Entry]) -> str:
    """Bytes to each target, as HTML."""
    targets = _targets(entries)
    head = '<th scope="col">method</th>' + "".join(
        f'<th scope="col">uplink to {name} ≤ {units.short(targets[key], 3)}</th>' for key, name in _TARGETS.items()
    )
    paid = [[bytes_to(entry.rounds, key, target) for key, target in targets.items()] for entry in entries]
    least = [min((v for v in column if v is not None), default=None) for column in zip(*paid, strict=True)]
    rows = []
    for entry, costs in zip(entries, paid, strict=True):
        cells = "".join(
            f"<td{' class=best' if cost is not None and cost == low else ''}>"
            f"{'not reached' if cost is None else units.size(cost)}</td>"
            for cost, low in zip(costs, least, strict=True)
        )
        rows.append(f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>{cells}</tr>')
    why = "<p>A target is the best that the weakest method reached; methods that diverged do not count.</p>"
    return why + sections.scrolling_table("Uplink bytes when each method first reached the target", head, rows)


def _troubles(results: Sequence[Result], names: Sequence[str]) -> list[str]:
    return [f"{name}: {text}" for name, r in zip(names, results, strict=True) for text in report.warnings(r)]


def _distributions(results: Sequence[Result], names: Sequence[str]) -> tuple[list[tuple[str, Labels]], list[str]]:
    """The different label distributions, and for each the runs that share it."""
    found: dict[tuple[str, Labels], list[str]] = {}
    for r, name in zip(results, names, strict=True):
        spread = report.distribution(r)
        if spread is not None:
            found.setdefault(spread, []).append(name)
    return list(found), [", ".join(who) for who in found.values()]
