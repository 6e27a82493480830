"""What a run showed, in a sentence and a few large numbers."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios import units
from scenarios.sections import Entry, card
from scenarios.targets import bytes_to, weakest_best


def best_compressed(entries: Sequence[Entry]) -> Entry | None:
    """Of the methods that saved bytes and got through, that with the lowest final training loss."""
    able = [m for m in entries if m.sound and m.saving is not None and not m.uncompressed]
    return min(able, key=_loss, default=None)


def best_uncompressed(entries: Sequence[Entry]) -> Entry | None:
    """Of the methods that saved nothing and got through, that with the lowest final training loss."""
    able = [m for m in entries if m.sound and m.uncompressed]
    return min(able, key=_loss, default=None)


def _loss(entry: Entry) -> float:
    value = units.finite(entry.method.get("train_loss"))
    return float("inf") if value is None else value


def lede(entries: Sequence[Entry]) -> str:
    """The run in a sentence."""
    best = best_compressed(entries)
    if best is None:
        if entries and all(m.diverged for m in entries):
            return "Every method of this run diverged."
        return "No method of this run got through with fewer bytes than uncompressed messages take."
    m = best.method
    reached = f"a training loss of {units.short(m.get('train_loss'))}"
    if units.finite(m.get("test_accuracy")) is not None:
        reached = f"{units.percent(m['test_accuracy'])} test accuracy"
    return (
        f"{best.label} reached {reached} with {units.size(m['uplink_bytes'])} of uplink. Uncompressed, "
        f"its messages would have taken {units.size(m['dense_uplink_bytes'])}, {units.times(best.saving)} "
        "as much."
    )


def cards(entries: Sequence[Entry]) -> str:
    """The few numbers to remember, as HTML; empty where no compressed method got through."""
    best, plain = best_compressed(entries), best_uncompressed(entries)
    if best is None:
        return ""
    m = best.method
    sizes = f"{best.label}: {units.size(m['uplink_bytes'])} instead of {units.size(m['dense_uplink_bytes'])}"
    shown = [card(units.times(best.saving), "smaller messages up", sizes)]
    shown += [_same_loss(best, plain)] if plain else []
    if units.finite(m.get("test_accuracy")) is not None:
        beside = f"; {plain.label}: {units.percent(plain.method.get('test_accuracy'))}" if plain else ""
        shown.append(card(units.percent(m["test_accuracy"]), "test accuracy", best.label + beside))
    if units.finite(m.get("virtual_seconds")) is not None:
        beside = f"; {plain.label}: {units.seconds(plain.method.get('virtual_seconds'))}" if plain else ""
        shown.append(card(units.seconds(m["virtual_seconds"]), "on the devices", best.label + beside))
    if m.get("clients_per_second"):
        spent = f"{best.label}: {units.count(m.get('rounds'))} rounds in {units.seconds(m.get('wall_seconds'))}"
        shown.append(card(units.count(m["clients_per_second"]), "clients per second", spent))
    return f'<div class="cards">{"".join(shown)}</div>'


def _same_loss(best: Entry, plain: Entry) -> str:
    """Bytes to a loss that both reached: a method that stalls early cannot look thrifty here."""
    goal = weakest_best([best.rounds, plain.rounds], "train_loss")
    a, b = (bytes_to(one.rounds, "train_loss", goal) for one in (best, plain))
    ratio = units.ratio(b, a)
    if not ratio:
        return ""
    figure, word = (units.times(ratio), "less") if ratio >= 1 else (units.times(1 / ratio), "more")
    detail = f"{best.label}: {units.size(a)}, {plain.label}: {units.size(b)}"
    return card(figure, f"{word} uplink to a training loss of {units.short(goal, 3)}", detail)
