"""The parts of the page that need no script: tables, notices, blocks to copy. Every text is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape as e
from typing import TYPE_CHECKING, Any

from scenarios import units
from scenarios.figures import INK, Style, style
from scenarios.units import finite

if TYPE_CHECKING:
    from pandas import DataFrame

    from scenarios.results import Result

_SAVES = 1.05  # uncompressed messages have headers: only more than this is a saving
_DASHARRAY = {
    "solid": "none",
    "dash": "7 4",
    "dot": "2 3",
    "dashdot": "7 3 2 3",
    "longdash": "11 4",
    "longdashdot": "11 3 2 3",
}
_MARKERS = {
    "circle": "M20 4a4 4 0 1 0 .01 0z",
    "square": "M16 4h8v8h-8z",
    "diamond": "M20 3l5 5-5 5-5-5z",
    "triangle-up": "M20 3l5 9h-10z",
    "triangle-down": "M20 13l5-9h-10z",
    "cross": "M18.5 3.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "pentagon": "M20 3l4.8 3.5-1.9 5.6h-5.8l-1.9-5.6z",
    "star": "M20 2.5l1.5 4 4 .2-3.1 2.6 1 4-3.4-2.2-3.4 2.2 1-4-3.1-2.6 4-.2z",
}
_STATUS = {"finished": "✓", "stopped": "■", "diverged": "▲", "failed": "✕", "interrupted": "‖"}


@dataclass(frozen=True)
class Entry:
    """One method of one run, as the page shows it. `label` is distinct on the page."""

    label: str
    run: str
    method: dict[str, Any]
    rounds: DataFrame
    style: Style

    @classmethod
    def of(cls, result: Result, i: int) -> Entry:
        """The i-th method of a run that is alone on its page."""
        method = result.summary["methods"][i]
        name = str(result.summary.get("name", ""))
        return cls(method["label"], name, method, result.of(method["label"]), style(i))

    @property
    def diverged(self) -> bool:
        return bool(self.method.get("status") == "diverged")

    @property
    def sound(self) -> bool:
        """Whether its figures can be set against others'."""
        return self.method.get("status") not in ("diverged", "failed")

    @property
    def uncompressed(self) -> bool:
        """Whether its messages lost nothing; of a run that does not say so, whether they saved nothing."""
        lossless = self.method.get("lossless")
        saved = self.saving
        return bool(lossless) if lossless is not None else saved is not None and saved <= _SAVES

    @property
    def saving(self) -> float | None:
        """Bytes of uncompressed messages over bytes sent."""
        return units.ratio(self.method.get("dense_uplink_bytes"), self.method.get("uplink_bytes"))


def swatch(s: Style) -> str:
    """The method's line and marker, for legends and tables."""
    colour = "currentColor" if s.colour == INK else s.colour
    return (
        f'<svg class="swatch" viewBox="0 0 40 16" width="40" height="16" aria-hidden="true">'
        f'<path d="M1 8h38" fill="none" stroke="{colour}" stroke-width="2.5" '
        f'stroke-dasharray="{_DASHARRAY[s.dash]}"/><path d="{_MARKERS[s.symbol]}" fill="{colour}"/></svg>'
    )


def step_size(value: Any) -> str:
    """A number; a schedule is a formula already."""
    return units.short(value) if value is None or finite(value) is not None else _plain(value)


def status_mark(method: dict[str, Any]) -> str:
    """The status in a word and a sign, its reason as a title."""
    status, reason = str(method.get("status", "")), str(method.get("reason") or "")
    title = f' title="{e(reason)}"' if reason else ""
    kind = status if status in _STATUS else "other"
    return f'<span class="status {kind}"{title}>{_STATUS.get(status, "")} {e(status or units.NONE)}</span>'


# heading, key in the summary, how it reads, and which end is best (None: neither)
_COLUMNS = (
    ("γ", "gamma", step_size, None),
    ("η", "eta", step_size, None),
    ("rounds", "rounds", units.count, None),
    ("training loss", "train_loss", units.short, min),
    ("‖∇f‖²", "grad_norm_sq", lambda v: units.short(v, 3), min),
    ("test accuracy", "test_accuracy", units.percent, max),
    ("best accuracy", "best_test_accuracy", units.percent, max),
    ("worst decile", "worst_decile_accuracy", units.percent, max),
    ("uplink", "uplink_bytes", units.size, None),
    ("saved", "saving", units.times, max),
    ("downlink", "downlink_bytes", units.size, None),
    ("refused", "rejected", units.count, None),
    ("invariant error", "invariant_error", lambda v: units.short(v, 2), None),
    ("wall time", "wall_seconds", units.seconds, None),
    ("virtual time", "virtual_seconds", units.seconds, None),
    ("clients/s", "clients_per_second", units.count, None),
)


def composite(entries: Sequence[Entry]) -> str:
    """What the figures of methods with a prox are of; nothing where there is none."""
    told = [
        f"<b>{e(entry.label)}</b> minimises f + r with r = {e(str(entry.method['prox']))}: its training loss is "
        "f(x) + r(x), and in the place of ∇f is the gradient mapping (x − prox(x − γ∇f(x))) / γ."
        for entry in entries if entry.method.get("prox")
    ]  # fmt: skip
    return "".join(f'<p class="hint">{line}</p>' for line in told)


def final_table(entries: Sequence[Entry], caption: str = "Each method when it was last evaluated") -> str:
    """One row per method. Columns that nobody fills are left out; the best of those that did not diverge
    is bold."""
    values = [e_.method | {"saving": e_.saving} for e_ in entries]
    columns = [c for c in _COLUMNS if any(v.get(c[1]) is not None for v in values)]
    best: dict[str, float] = {}
    for _, key, _, end in columns:
        good = [finite(v.get(key)) for v, entry in zip(values, entries, strict=True) if entry.sound]
        numbers = [v for v in good if v is not None]
        if end is not None and len(set(numbers)) > 1:
            best[key] = end(numbers)
    head = "".join(f'<th scope="col">{name}</th>' for name, *_ in columns)
    rows = []
    for entry, value in zip(entries, values, strict=True):
        cells = "".join(
            f"<td{' class=best' if key in best and finite(value.get(key)) == best[key] else ''}>"
            f"{e(show(value.get(key)))}</td>"
            for _, key, show, _ in columns
        )
        compressor = str(value.get("compressor") or units.NONE)
        rows.append(
            f'<tr class="{"is-diverged" if entry.diverged else ""}"><th scope="row">{swatch(entry.style)}'
            f"{e(entry.label)}</th><td class=text>{e(compressor)}</td>"
            f"<td class=text>{status_mark(entry.method)}</td>{cells}</tr>"
        )
    words = ("method", "compressor", "status")
    head = "".join(f'<th scope="col" class="text">{word}</th>' for word in words) + head
    return scrolling_table(caption, head, rows)


def scrolling_table(caption: str, head: str, rows: Iterable[str]) -> str:
    """A table that a narrow window scrolls sideways, also by keyboard. `head` and `rows` are HTML."""
    return (
        f'<div class="scroll" role="region" aria-label="{e(caption)}" tabindex="0"><table>'
        f"<caption>{e(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def facts(caption: str, pairs: dict[str, Any]) -> str:
    """A table of names and values."""
    rows = [
        f"<tr><th scope=row>{e(str(key))}</th><td class=text>{e(_plain(pairs[key]))}</td></tr>" for key in sorted(pairs)
    ]
    head = '<th scope="col">name</th><th scope="col" class="text">value</th>'
    return f'<div class="facts">{scrolling_table(caption, head, rows)}</div>'


def _plain(value: Any) -> str:
    if value is None:
        return units.NONE
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def code(text: str, what: str) -> str:
    """A block of text with a button that copies it."""
    return (
        '<div class="code"><button type="button" class="copy" hidden '
        f'aria-label="Copy {e(what)}">Copy</button>'
        f'<pre tabindex="0" role="region" aria-label="{e(what)}"><code>{e(text)}</code></pre></div>'
    )


def segments(name: str, legend: str, choices: Mapping[str, str], chosen: str | None = None) -> str:
    """A row of radio buttons, value to text, the first or `chosen` one pressed; empty where there is no choice."""
    if len(choices) < 2:
        return ""
    pressed = next(iter(choices)) if chosen is None else chosen
    radios = "".join(
        f'<label class="segment"><input type="radio" name="{name}" value="{e(value)}"'
        f"{' checked' if value == pressed else ''}><span>{e(text)}</span></label>"
        for value, text in choices.items()
    )
    return f'<fieldset class="choice"><legend>{e(legend)}</legend>{radios}</fieldset>'


def notices(texts: Sequence[str]) -> str:
    """What a reader must know before the figures; nothing where there is nothing."""
    if not texts:
        return ""
    items = "".join(f"<li>{e(text)}</li>" for text in texts)
    return f'<aside class="notices" aria-label="Notices"><h2>Before you read on</h2><ul>{items}</ul></aside>'


def card(figure: str, what: str, detail: str) -> str:
    """One large number."""
    return (
        f'<div class="card"><p class="figure">{e(figure)}</p><p class="what">{e(what)}</p>'
        f'<p class="detail">{e(detail)}</p></div>'
    )
