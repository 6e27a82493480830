"""The study's picture: for each setting, what every method came to against what it cost. Plain SVG, no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape as e
from typing import TYPE_CHECKING

from scenarios import units
from scenarios.figures import INK, Style, style

if TYPE_CHECKING:
    from scenarios.study.results import Row

WIDE, HIGH, LEFT, TOP, GAP, FOOT = 300, 260, 76, 34, 26, 62  # of a panel and what is around it, in pixels
ACROSS = 3  # panels in a row
_SHAPES = {
    "circle": '<circle r="5"/>', "square": '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    "diamond": '<path d="M0-6L6 0 0 6-6 0z"/>', "triangle-up": '<path d="M0-6L6 5H-6z"/>',
    "triangle-down": '<path d="M0 6L6-5H-6z"/>', "cross": '<path d="M-2-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
    "pentagon": '<path d="M0-6L6-1.5 3.7 5H-3.7L-6-1.5z"/>', 
    "star": '<path d="M0-7L2-2 7-2 3 1.5 4.5 6.5 0 3.5-4.5 6.5-3 1.5-7-2-2-2z"/>',
}  # fmt: skip
LOOKS = """<style>svg{--ink:#1b1f24;--soft:#5a6572;--line:#dfe3e8;--grid:#e9ecef;--panel:#fff;background:#fff}
@media (prefers-color-scheme:dark){svg{--ink:#e8eaed;--soft:#a2acb8;--line:#333a42;--grid:#2a3037;--panel:#1a1e23;
background:#1a1e23}}</style>"""


def styles(rows: Sequence[Row]) -> dict[str, Style]:
    """A look for each method of a study, by its label."""
    return {label: style(i) for i, label in enumerate(dict.fromkeys(row.arm.label for row in rows))}


def against(rows: Sequence[Row], y: str, x: str, alone: bool = False) -> str:
    """The figure, of the mean of `y` with its interval against the mean of `x`; empty where nobody has both.

    The line leads along the front of each setting, and a number beside a point is what its method was varied in.
    alone: with colours of its own, to be a file.
    """
    rows = [r for r in rows if _known(r, y) and _known(r, x)]
    if not rows:
        return ""
    settings = list(dict.fromkeys(row.arm.where for row in rows))
    looks = styles(rows)
    across, down = min(ACROSS, len(settings)), math.ceil(len(settings) / ACROSS)
    wide, high = LEFT + across * (WIDE + GAP), down * (TOP + HIGH + FOOT) + 26
    to_x, ticks_x = _scale([r.means[x].mean for r in rows], 0, WIDE, log=True)
    edges = [v for r in rows for v in (r.means[y].mean, r.means[y].low, r.means[y].high) if math.isfinite(v)]
    to_y, ticks_y = _scale(edges, HIGH, 0, log=False)
    parts = []
    for i, where in enumerate(settings):
        left, top = LEFT + i % ACROSS * (WIDE + GAP), TOP + i // ACROSS * (TOP + HIGH + FOOT)
        mine = [row for row in rows if row.arm.where == where]
        inside = _frame(where, to_x, ticks_x, to_y, ticks_y, x, y, first=i % ACROSS == 0)
        inside += _front(mine, y, x, to_x, to_y) + "".join(_mark(r, y, x, to_x, to_y, looks[r.arm.label]) for r in mine)
        parts.append(f'<g transform="translate({left},{top})">{inside}</g>')
    legend, at = "", LEFT
    for label, look in looks.items():
        legend += f'<g transform="translate({at},{high - 14})" {_paint(look)}>{_SHAPES[look.symbol]}'
        legend += f'<text x="10" y="4" style="fill:var(--ink)">{e(label)}</text></g>'
        at += 34 + 7 * len(label)
    told = f"{_NAMES[y]} against {_NAMES[x]}, with 95 % bootstrap intervals over seeds"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(wide, at)} {high}" role="img" '
        f'aria-label="{told}" font-family="system-ui, sans-serif" font-size="12" style="max-width:100%">'
        f"{LOOKS if alone else ''}{''.join(parts)}{legend}</svg>"
    )


_NAMES = {
    "test_accuracy": "test accuracy", "train_loss": "training loss", "grad_norm_sq": "‖∇f‖²",
    "uplink_bytes": "uplink, all clients", "virtual_seconds": "virtual time",
    "bytes_to_accuracy": "uplink to the target", "seconds_to_accuracy": "virtual time to the target",
}  # fmt: skip
_READ: Mapping[str, Callable[[float], str]] = {
    "test_accuracy": units.percent, "uplink_bytes": units.size, "bytes_to_accuracy": units.size,
    "virtual_seconds": units.seconds, "seconds_to_accuracy": units.seconds,
}  # fmt: skip


def read(figure: str, value: float) -> str:
    """A figure as people read it; inf is a target that was not reached."""
    if value == math.inf:
        return "not reached"
    return _READ[figure](value) if figure in _READ else units.short(value)


def _known(row: Row, figure: str) -> bool:
    return figure in row.means and math.isfinite(row.means[figure].mean)


def _scale(
    values: Sequence[float], start: float, end: float, log: bool
) -> tuple[Callable[[float], float], list[float]]:
    """From values to pixels, and where the ticks are."""
    low, high = min(values), max(values)
    log = log and low > 0
    a, b = (math.log10(low), math.log10(high)) if log else (low, high)
    pad = 0.07 * (b - a) or 0.1 * abs(b) or 1.0
    a, b = a - pad, b + pad

    def to(value: float) -> float:
        at = math.log10(value) if log else value
        return start + (at - a) / (b - a) * (end - start)

    if log:
        exact = [m * 10.0**k for k in range(math.floor(a), math.ceil(b) + 1) for m in ((1, 3) if b - a < 2.5 else (1,))]
        return to, [v for v in exact if a <= math.log10(v) <= b]
    step = _round((b - a) / 4)
    return to, [k * step for k in range(math.ceil(a / step), math.floor(b / step) + 1)]


def _round(step: float) -> float:
    """1, 2 or 5 times a power of ten, at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _frame(
    title: str, to_x: Callable[[float], float], ticks_x: Sequence[float], to_y: Callable[[float], float],
    ticks_y: Sequence[float], x: str, y: str, first: bool,
) -> str:  # fmt: skip
    soft = 'style="fill:var(--soft)"'
    out = f'<text y="-12" font-weight="600" style="fill:var(--ink)">{e(title)}</text>'
    for tick in ticks_y:
        at = f"{to_y(tick):.1f}"
        out += f'<line x2="{WIDE}" y1="{at}" y2="{at}" style="stroke:var(--grid)"/>'
        out += f'<text x="-8" y="{at}" dy="4" text-anchor="end" {soft}>{e(read(y, tick))}</text>' if first else ""
    for tick in ticks_x:
        at = f"{to_x(tick):.1f}"
        out += f'<line x1="{at}" x2="{at}" y2="{HIGH}" style="stroke:var(--grid)"/>'
        out += f'<text x="{at}" y="{HIGH + 18}" text-anchor="middle" {soft}>{e(read(x, tick))}</text>'
    out += f'<rect width="{WIDE}" height="{HIGH}" fill="none" style="stroke:var(--line)"/>'
    out += f'<text x="{WIDE / 2}" y="{HIGH + 36}" text-anchor="middle" {soft}>{_NAMES[x]}</text>'
    turned = f'<text transform="translate(-60,{HIGH / 2})rotate(-90)" text-anchor="middle" {soft}>{_NAMES[y]}</text>'
    return out + (turned if first else "")


def _front(rows: Sequence[Row], y: str, x: str, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    on = sorted((r.means[x].mean, r.means[y].mean) for r in rows if r.front)
    path = " ".join(f"{to_x(a):.1f},{to_y(b):.1f}" for a, b in on)
    return (
        f'<polyline points="{path}" fill="none" stroke-width="1.5" stroke-dasharray="5 4" style="stroke:var(--soft)"/>'
    )


def _mark(row: Row, y: str, x: str, to_x: Callable[[float], float], to_y: Callable[[float], float], look: Style) -> str:
    mean, across = row.means[y], to_x(row.means[x].mean)
    varied = ", ".join(str(value) for value in row.arm.options.values())
    told = f"{row.arm.name}: {read(y, mean.mean)} for {read(x, row.means[x].mean)}"
    bar = ""
    if math.isfinite(mean.low):
        told += f", 95 % from {read(y, mean.low)} to {read(y, mean.high)}"
        bar = f'<path d="M0 {to_y(mean.low) - to_y(mean.mean):.1f}V{to_y(mean.high) - to_y(mean.mean):.1f}" '
        bar += 'fill="none" stroke="currentColor" stroke-width="1.6"/>'
    return (
        f'<g transform="translate({across:.1f},{to_y(mean.mean):.1f})" {_paint(look)}><title>{e(told)}</title>{bar}'
        f'{_SHAPES[look.symbol]}<text x="8" y="-6" font-size="10.5" style="fill:var(--soft)">{e(varied)}</text></g>'
    )


def _paint(look: Style) -> str:
    colour = "var(--ink)" if look.colour == INK else look.colour
    return f'style="color:{colour};fill:{colour}"'
