"""The report's tables on fairness: how evenly clients are served, by class of device and by size, and who is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.fairness import MEASURES
from scenarios.results import Result
from scenarios.sections import Entry

WORDS = {"loss": "loss", "accuracy": "accuracy, own samples", "test_accuracy": "test accuracy, own classes"}
_SPREAD = (  # heading, key
    ("worst decile", "worst_decile"), ("10 %", "q10"), ("median", "q50"), ("90 %", "q90"),
    ("best decile", "best_decile"), ("variance", "variance"), ("Jain", "jain"), ("Gini", "gini"),
)  # fmt: skip
_PLAIN = ("variance", "jain", "gini")  # no shares, also of an accuracy
_WITH = {"participation": "times used", "step_seconds": "step time", "samples": "samples"}
_TOLD = (
    "<p>What each method's last model gives each client: f<sub>i</sub> and the accuracy over the client's own samples, "
    "and the test accuracy with each class weighing what it weighs for the client. A decile is the mean of the tenth "
    "of the clients at that end. Jain's index is 1 where all have the same and 1/n where one has all; Gini's is 0 and "
    "1 − 1/n.</p>"
)
Found = Sequence[tuple[Entry, Mapping[str, Any]]]


def section_body(result: Result) -> str:
    """Tables, as HTML; empty where no method was measured."""
    methods = result.summary["methods"]
    found: Found = [(Entry.of(result, i), m["fairness"]) for i, m in enumerate(methods) if m.get("fairness")]
    if not any(told.get("loss") for _, told in found):
        return ""
    return _TOLD + _spreads(found) + _groups(found, "class", "By class of device") + _sizes(found) + _ranks(found)


def _spreads(found: Found) -> str:
    def rows() -> Iterator[str]:
        for entry, told in found:
            for name in MEASURES:
                if some := told.get(name):
                    cells = [_number(name, some.get(key), key in _PLAIN) for _, key in _SPREAD]
                    yield _row(entry, [WORDS[name]], cells)

    return _table("Over all clients", ("measure",), [heading for heading, _ in _SPREAD], rows())


def _sizes(found: Found) -> str:
    told: Found = [
        (entry, {"by_size": [row | {"size": _size(row)} for row in of.get("by_size") or ()]}) for entry, of in found
    ]
    return _groups(told, "size", "By number of samples, a quarter of the clients each")


def _size(row: Mapping[str, Any]) -> str:
    low, high = row["samples"]
    return f"{row['size']}, {low:,} samples" if low == high else f"{row['size']}, {low:,} to {high:,} samples"


def _groups(found: Found, key: str, caption: str) -> str:
    """A row for each method and group; empty where there are no groups."""
    groups = [(entry, row) for entry, told in found for row in told.get(f"by_{key}") or ()]
    names = [name for name in MEASURES if any(row.get(name) is not None for _, row in groups)]
    if not groups:
        return ""
    head = ["clients", "asked", "used", *(word for name in names for word in (WORDS[name], "its worst decile"))]
    rows = (
        _row(entry, [row[key]], [
            *(units.count(row.get(word)) for word in ("clients", "asked", "used")),
            *(_number(name, row.get(word)) for name in names for word in (name, f"worst_{name}")),
        ]) for entry, row in groups
    )  # fmt: skip
    return _table(caption, (key,), head, rows)


def _ranks(found: Found) -> str:
    """Spearman's correlations; columns that nobody fills are left out."""
    told = [
        (entry, name, {word: (of.get(f"correlation_with_{word}") or {}).get(name) for word in _WITH})
        for entry, of in found
        for name in MEASURES
        if of.get(name)
    ]
    shown = [word for word in _WITH if any(values[word] is not None for _, _, values in told)]
    if not shown:
        return ""
    rows = (_row(entry, [WORDS[name]], [units.short(values[w], 2) for w in shown]) for entry, name, values in told)
    caption = "Spearman's rank correlation over clients: a loss that falls with times used is what is left behind"
    return _table(caption, ("measure",), [f"with {_WITH[word]}" for word in shown], rows)


def _number(measure: str, value: Any, plain: bool = False) -> str:
    return units.short(value, 3) if plain or not MEASURES[measure] else units.percent(value)


def _row(entry: Entry, words: list[str], cells: list[str]) -> str:
    return (
        f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>'
        + "".join(f"<td class=text>{e(word)}</td>" for word in words)
        + "".join(f"<td>{e(cell)}</td>" for cell in cells)
        + "</tr>"
    )


def _table(caption: str, words: tuple[str, ...], numbers: list[str], rows: Iterator[str]) -> str:
    head = "".join(f'<th scope="col" class="text">{e(word)}</th>' for word in ("method", *words))
    head += "".join(f'<th scope="col">{e(word)}</th>' for word in numbers)
    return sections.scrolling_table(caption, head, rows)
