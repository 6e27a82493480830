"""The report's section on devices: who took part and when on the virtual clock, energy by class, staleness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape as e
from typing import Any

from scenarios import sections, timeline, units
from scenarios.figures_timeline import CELLS, COLUMNS, LOOKS, ROWS, SPANS, gantt, participation
from scenarios.results import Result
from scenarios.sections import Entry

PARTS = ("compute", "radio", "idle")
# heading, key in the summary, how it reads
_CLASS = (
    ("clients", "clients", units.count),
    ("asked", "asked", units.count),
    ("used", "used", units.count),
    ("late", "late", units.count),
    ("lost", "lost", units.count),
    ("computing", "compute_seconds", units.seconds),
    ("on the link", "link_seconds", units.seconds),
    ("idle", "idle_seconds", units.seconds),
)
Drawn = dict[str, Any]


def timelines(result: Result, entries: Sequence[Entry]) -> list[Drawn | None]:
    """What the page draws of each method's timeline, None where it has none."""
    frame = timeline.read(result.folder)
    if frame is None:
        return [None] * len(entries)
    rows = dict(iter(frame.groupby("method", sort=False)))
    spans = max(200, SPANS // max(1, len(rows)))
    columns = min(COLUMNS, max(40, CELLS // (ROWS * max(1, len(rows)))))
    found: list[Drawn | None] = []
    for entry in entries:
        own = rows.get(entry.method["label"])
        found.append(
            None
            if own is None
            else {"participation": asdict(participation(own, ROWS, columns)), "gantt": asdict(gantt(own, spans))}
        )
    return found


def fates() -> list[dict[str, str]]:
    """How the page draws what becomes of a reply, the best first."""
    return [{"name": fate, "words": timeline.FATES[fate], **asdict(look)} for fate, look in LOOKS.items()]


def energy(entry: Entry) -> dict[str, dict[str, float]] | None:
    """Joules of each device class by what they went to, None where nobody knows its power."""
    classes: Mapping[str, Any] = entry.method.get("devices") or {}
    told = {kind: dict(of.get("joules") or {}) for kind, of in classes.items()}
    joules = {kind: {part: units.finite(of.get(part)) or 0.0 for part in PARTS} for kind, of in told.items() if of}
    return joules if any(v > 0 for of in joules.values() for v in of.values()) else None


def staleness(entry: Entry) -> list[tuple[int, float]] | None:
    """How many used replies were so many server steps old, None where all were of their own round."""
    histogram = (entry.method.get("staleness") or {}).get("histogram") or {}
    pairs = histogram.items() if isinstance(histogram, Mapping) else enumerate(histogram)
    found = sorted((int(age), float(count)) for age, count in pairs)
    return found if any(age > 0 and count for age, count in found) else None


def of_method(entry: Entry) -> Drawn:
    """What the page draws of one method's summary."""
    return {"energy": energy(entry), "staleness": staleness(entry)}


def section_body(entries: Sequence[Entry], drawn: Sequence[Drawn | None], clients: int | None = None) -> str:
    """Figures and tables, as HTML; empty where no run had devices. `clients`: how many the run has."""
    timed = [i for i, one in enumerate(drawn) if one is not None]
    parts = [_controls(entries, timed, drawn, clients) + _map() + _gantt(drawn[timed[0]])] if timed else []
    figures = (_energy() if any(map(energy, entries)) else "") + (_staleness() if any(map(staleness, entries)) else "")
    parts += [f'<div class="figures">{figures}</div>'] if figures else []
    parts += [_table(entries)] if any(entry.method.get("devices") for entry in entries) else []
    return "".join(parts)


def _controls(
    entries: Sequence[Entry], timed: Sequence[int], drawn: Sequence[Drawn | None], clients: int | None
) -> str:
    most = max(one["gantt"]["of"][0] for one in drawn if one is not None)
    some = f" The timeline has {most:,} of the run's {clients:,} clients." if clients and most < clients else ""
    options = "".join(f'<option value="{i}">{e(entries[i].label)}</option>' for i in timed)
    return (
        "<p>Virtual time: what the devices of the scenario would have taken. Clients are in the order of the median "
        f"time from fetching an instruction until the reply is there.{some}</p>"
        f'<div class="choices"><label class="choice">method <select id="timed">{options}</select></label></div>'
    )


def _map() -> str:
    key = "".join(
        f'<li><span class="cell" style="background:{look.colour}">{look.glyph}</span>{timeline.FATES[fate]}</li>'
        for fate, look in LOOKS.items()
    )
    return (
        "<figure><figcaption><h3>Who took part</h3><p>each client that was asked, in each round; blank: not asked. Of "
        "many clients or rounds, the share that was used</p>"
        f'<ul class="key">{key}</ul></figcaption><div class="plot" role="img" '
        'aria-label="Map of clients and rounds: whose replies were used, late or lost" data-map="yes"></div></figure>'
    )


def _gantt(first: Drawn | None) -> str:
    assert first is not None
    g = first["gantt"]
    clients, rounds = g["of"]
    have = [int(r) for r, *_ in g["rounds"]]
    some = "" if len(have) == rounds and len(g["clients"]) == clients else (
        f" This page has spans of {len(g['clients']):,} of {clients:,} clients in rounds {_ranges(have)}; "
        "<code>fl-ef21 trace DIR</code> writes all of them."
    )  # fmt: skip
    until = next(have[i] for i in range(min(4, len(have)) - 1, -1, -1) if have[i] == have[0] + i)
    field = '<label>{} <input type="number" id="gantt-{}" min="{}" max="{}" value="{}"></label>'
    return (
        "<figure><figcaption><h3>Round by round</h3><p>what each client did on the virtual clock; dotted lines: a "
        f"round is over and the next is asked.{some}</p>"
        '<div class="range" role="group" aria-label="Rounds shown">'
        '<button type="button" id="gantt-earlier">← earlier</button>'
        f"{field.format('rounds', 'from', have[0], have[-1], have[0])}"
        f"{field.format('to', 'to', have[0], have[-1], until)}"
        '<button type="button" id="gantt-later">later →</button>'
        '<span id="gantt-none" class="hint" role="status" hidden>There are no spans of the rounds between.</span></div>'
        '</figcaption><div class="plot tall" role="img" aria-label="Gantt chart of clients on the virtual clock" '
        'data-gantt="yes"></div></figure>'
    )


def _ranges(numbers: Sequence[int]) -> str:
    """1 to 20, 41 to 60."""
    starts = [n for i, n in enumerate(numbers) if i == 0 or n != numbers[i - 1] + 1]
    ends = [n for i, n in enumerate(numbers) if i == len(numbers) - 1 or n != numbers[i + 1] - 1]
    return ", ".join(str(a) if a == b else f"{a:,} to {b:,}" for a, b in zip(starts, ends, strict=True))


def _energy() -> str:
    return (
        "<figure><figcaption><h3>Energy</h3><p>joules of each class of devices, all its clients and rounds together"
        '</p></figcaption><div class="plot" role="img" aria-label="Energy by class of devices; the table below has the '
        'numbers" data-energy="yes"></div></figure>'
    )


def _staleness() -> str:
    return (
        "<figure><figcaption><h3>Staleness</h3><p>of how old a model the replies were that a round used</p>"
        '</figcaption><div class="plot" role="img" aria-label="Histogram of the staleness of used replies" '
        'data-staleness="yes"></div></figure>'
    )


def _table(entries: Sequence[Entry]) -> str:
    head = '<th scope="col" class="text">method</th><th scope="col" class="text">class</th>' + "".join(
        f'<th scope="col">{name}</th>' for name in (*(name for name, *_ in _CLASS), "energy", "a used reply")
    )
    rows = []
    for entry in entries:
        joules = energy(entry) or {}
        for kind, of in sorted((entry.method.get("devices") or {}).items()):
            spent = sum(joules[kind].values()) if kind in joules else None
            each = units.ratio(spent, of.get("used"))
            cells = [show(of.get(key)) for _, key, show in _CLASS] + [units.joules(spent), units.joules(each)]
            rows.append(
                f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th><td class=text>{e(kind)}</td>'
                + "".join(f"<td>{e(cell)}</td>" for cell in cells)
                + "</tr>"
            )
    return sections.scrolling_table("Each class of devices, all its clients and rounds together", head, rows)
