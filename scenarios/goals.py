"""What a target cost: uplink bytes and seconds to a gradient norm, a loss or an accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.sections import Entry
from scenarios.targets import RISING, SMOOTH, UPLINK, cost_within, frontier, smoothed

WITHIN = 1.05  # of the uncompressed method's final gradient norm
COSTS = {UPLINK: "uplink", "virtual_seconds": "virtual time", "wall_seconds": "wall time"}
_GOALS = (
    ("test_accuracy", "Test accuracy", "target for the share of test samples predicted right", ".1%"),
    ("grad_norm_sq", "Gradient norm", "target for the norm of the full gradient ‖∇f(x)‖", ".3~g"),
    ("train_loss", "Training loss", "target for f(x) over all samples of all clients", ".4~g"),
)


@dataclass(frozen=True)
class Goal:
    """The uncompressed method's final gradient norm, within 5 %.

    Attributes:
      of: that method; of several the one that came lowest.
      norm: the target, `WITHIN` times its final smoothed norm.
      paid: the fewest uplink bytes with which an uncompressed method was there.
    """

    of: Entry
    norm: float
    paid: float

    def cost(self, entry: Entry, cost: str = UPLINK) -> float | None:
        """What a method paid to be there, None where it never was."""
        return cost_within(entry.rounds, "grad_norm_sq", self.norm**2, cost)


def goal(entries: Sequence[Entry]) -> Goal | None:
    """None where no uncompressed method got through."""
    finals: dict[int, float] = {}
    for i, entry in enumerate(entries):
        if entry.sound and entry.uncompressed:
            curve = smoothed(entry.rounds, "grad_norm_sq")
            finals |= {i: curve[-1][0]} if curve else {}
    if not finals:
        return None
    best = min(finals, key=lambda i: finals[i])
    norm = WITHIN * math.sqrt(finals[best])
    paid = [cost_within(entries[i].rounds, "grad_norm_sq", norm**2) for i in finals]
    return Goal(entries[best], norm, min(p for p in paid if p is not None))


def accuracies(entries: Sequence[Entry]) -> list[float]:
    """Up to three test accuracies worth asking for, ascending and whole per cents: what every sound method reached,
    what the best one reached, and half way between.
    """
    best = [curve[-1][0] for entry in entries if entry.sound if (curve := frontier(entry.rounds, "test_accuracy"))]
    if not best:
        return []
    low, high = math.floor(100 * min(best) + 1e-9), math.floor(100 * max(best) + 1e-9)
    return [found / 100 for found in sorted({low, (low + high) // 2, high}) if found > 0]


def costs(entries: Sequence[Entry]) -> list[str]:
    """The columns of COSTS that somebody has numbers for."""
    return [key for key in COSTS if any(units.finite(v) is not None for m in entries for v in m.rounds[key].tolist())]


def section_body(entries: Sequence[Entry]) -> str:
    """Figures and tables, as HTML."""
    if all(entry.rounds.empty for entry in entries):
        return "<p>No round was evaluated.</p>"
    found = goal(entries)
    how = (
        f"A target counts as reached when the median of a method's last {SMOOTH} evaluations is at least as good; "
        "bytes are those of the uplink until then, all clients together. Targets get harder to the right."
    )
    drawn = "".join(
        f'<figure><figcaption><h3>{title}</h3><p>{what}</p></figcaption><div class="plot" role="img" '
        f'aria-label="What each method paid against its {title.lower()}" data-goal="{key}" data-hover="{hover}" '
        f'data-rising="{"yes" if key in RISING else ""}" '
        f'data-at="{found.norm if found and key == "grad_norm_sq" else ""}"></div></figure>'
        for key, title, what, hover in _GOALS
        if any(frontier(entry.rounds, key) for entry in entries)
    )
    segments = sections.segments("goal-cost", "what it cost", {key: COSTS[key] for key in costs(entries)})
    table = _norm_table(entries, found) if found else ""
    return f'<p>{how}</p>{segments}<div class="figures">{drawn}</div>{accuracy_table(entries)}{table}'


def accuracy_table(entries: Sequence[Entry]) -> str:
    """Bytes to accuracy and time to accuracy, as HTML; empty where nobody measured accuracy."""
    targets = accuracies(entries)
    shown = [key for key in costs(entries) if key != "wall_seconds"]
    if not targets or not shown:
        return ""
    columns = [(target, key) for target in targets for key in shown]
    paid = [[cost_within(m.rounds, "test_accuracy", target, key) for target, key in columns] for m in entries]
    head = '<th scope="col" class="text">method</th>' + "".join(
        f'<th scope="col">{COSTS[key]} to {100 * target:.0f} %</th>' for target, key in columns
    )
    return sections.scrolling_table(
        "Bytes to accuracy, and time to accuracy" if len(shown) > 1 else "Bytes to accuracy",
        head,
        _rows(entries, paid, [key for _, key in columns]),
    )


def _norm_table(entries: Sequence[Entry], found: Goal) -> str:
    timed = "virtual_seconds" in costs(entries)
    keys = ["round", UPLINK] + ["virtual_seconds"] * timed
    paid = [[found.cost(entry, key) for key in keys] for entry in entries]
    head = (
        '<th scope="col" class="text">method</th><th scope="col" class="text">compressor</th>'
        '<th scope="col">rounds</th><th scope="col">uplink</th>'
        + '<th scope="col">virtual time</th>' * timed
        + '<th scope="col">fewer bytes</th>'
    )
    more = [f"<td>{units.times(units.ratio(found.paid, cost[1]))}</td>" for cost in paid]
    words = [f"<td class=text>{e(str(entry.method.get('compressor') or units.NONE))}</td>" for entry in entries]
    caption = f"To a gradient norm of {units.short(found.norm, 3)}: {found.of.label}'s last, uncompressed, within 5 %"
    return sections.scrolling_table(caption, head, _rows(entries, paid, keys, words, more))


def _rows(
    entries: Sequence[Entry],
    paid: Sequence[Sequence[float | None]],
    keys: Sequence[str],
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> list[str]:
    """A row for each method, the least of each column bold. `before` and `after` are cells as HTML."""
    least = [min((v for v in column if v is not None), default=None) for column in zip(*paid, strict=True)]
    rows = []
    for i, (entry, costs) in enumerate(zip(entries, paid, strict=True)):
        cells = "".join(
            f"<td{' class=best' if cost is not None and cost == low and key != 'round' else ''}>{told(cost, key)}</td>"
            for cost, low, key in zip(costs, least, keys, strict=True)
        )
        name = f'<th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th>'
        rows.append(f"<tr>{name}{before[i] if before else ''}{cells}{after[i] if after else ''}</tr>")
    return rows


def told(cost: float | None, key: str) -> str:
    """A cost as people read it."""
    if cost is None:
        return units.NONE if key == "round" else "not reached"
    return units.size(cost) if key == UPLINK else units.count(cost) if key == "round" else units.seconds(cost)


def curves(entry: Entry, points: int) -> dict[str, dict[str, list[float | None]]]:
    """For each goal the `levels` a method reached and what it had paid, a list for each column of COSTS, fit to be
    drawn and at most `points`.
    """
    drawn: dict[str, dict[str, list[float | None]]] = {}
    by_round = entry.rounds.set_index("round")
    for key, *_ in _GOALS:
        found = frontier(entry.rounds, key, "round")
        last = len(found) - 1
        keep = found if last < points else [found[i * last // (points - 1)] for i in range(points)]
        levels = [math.sqrt(level) if key == "grad_norm_sq" else level for level, _ in keep]
        paid = by_round.loc[[int(round) for _, round in keep]]
        drawn[key] = {cost: [_six(v) for v in paid[cost].tolist()] for cost in COSTS}
        drawn[key]["levels"] = [_six(level) for level in levels]
    return drawn


def _six(value: Any) -> float | None:
    number = units.finite(value)
    return None if number is None else int(number) if number.is_integer() else float(f"{number:.6g}")


def to_table(entries: Sequence[Entry]) -> dict[str, list[float]]:
    """Columns for a table: what each method paid for the uncompressed method's gradient norm, and in bytes and virtual
    seconds for the accuracy that every sound method reached; NaN where it never was there.
    """
    found, accuracy = goal(entries), accuracies(entries)[:1]
    norm = [found.cost(entry) if found else None for entry in entries]
    columns = {"bytes_to_uncompressed": norm}
    for name, cost in (("bytes_to_accuracy", UPLINK), ("seconds_to_accuracy", "virtual_seconds")):
        columns[name] = [cost_within(m.rounds, "test_accuracy", accuracy[0], cost) if accuracy else None
                         for m in entries]  # fmt: skip
    return {name: [float("nan") if v is None else float(v) for v in paid] for name, paid in columns.items()}
