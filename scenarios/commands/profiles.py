"""`fl-ef21 devices list | show`: the profiles that come with us, and what a profile deals to clients."""

from __future__ import annotations

import json
import math
import textwrap
from typing import TYPE_CHECKING, Any

import typer

from scenarios import units
from scenarios.commands.failures import explained

if TYPE_CHECKING:
    from fl_ef21.devices.catalogue import Profile
    from fl_ef21.devices.fleet import Fleet

SAMPLE = 10_000  # clients whose draws are told
QUANTILES = (0.1, 0.5, 0.9)
HEADINGS = ("class", "clients", "step", "up", "down", "latency", "there", "watts: compute, up, down, idle")
WIDTH = 100


def names() -> dict[str, str]:
    """The profiles that come with us, each with what it stands for."""
    from fl_ef21.devices import catalogue, words

    return {name: catalogue.find(name).about for name in words.shipped()}


def show(word: str, format: str, debug: bool) -> None:
    """Print what a profile says, and what its classes deal."""
    with explained(debug):
        from fl_ef21.devices import catalogue
        from fl_ef21.devices.fleet import Fleet

        profile = catalogue.find(word)
        count = SAMPLE if profile.classes else len(profile.devices)
        told = described(profile, Fleet.deal(profile, count, step_seconds=1.0))
        typer.echo(json.dumps(told, indent=2) if format == "json" else text(told))


def described(profile: Profile, fleet: Fleet) -> dict[str, Any]:
    """The profile, and by class the 10, 50 and 90 % quantiles of what clients were dealt; what is endless is None."""
    import numpy as np

    kinds = np.array(fleet.kinds)
    names = dict.fromkeys([*(one.kind for one in profile.devices), *(one.name for one in profile.classes)])
    classes = [_class(fleet, name, np.flatnonzero(kinds == name)) for name in names]
    everybody = _class(fleet, "all", np.arange(len(kinds)))
    p10, _, p90 = everybody["step"]
    return {
        "name": profile.name, "about": profile.about, "synthetic": profile.synthetic.strip(),
        "sources": list(profile.sources), "step_unit": "reference steps" if profile.classes else "seconds",
        "speed_p90_p10": p90 / p10, "classes": classes, "all": everybody,
    }  # fmt: skip


def _class(fleet: Fleet, name: str, clients: Any) -> dict[str, Any]:
    import numpy as np

    def quantiles(values: Any) -> list[float | None]:
        return [units.finite(float(value)) for value in np.quantile(values, QUANTILES, method="lower")]

    shares = np.array([process.share for process in fleet.processes])[fleet.process[clients]]
    watts = fleet.power(clients)
    return {
        "name": name, "clients": len(clients), "step": quantiles(fleet.step(clients)),
        "up_bytes_per_second": quantiles(fleet.up.rates[clients]),
        "down_bytes_per_second": quantiles(fleet.down.rates[clients]),
        "latency_seconds": quantiles(fleet.latency[clients]), "there": float(shares.mean()),
        "watts": [units.finite(float(value)) for value in watts.mean(axis=0)],
    }  # fmt: skip


def text(told: dict[str, Any]) -> str:
    """The same for people."""
    rows = [HEADINGS, *(_row(one, told["step_unit"]) for one in [*told["classes"], told["all"]])]
    if len(told["classes"]) == 1:
        rows.pop()
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    head = f"{told['name']}: {told['about']}" if told["about"] else told["name"]
    unit = told["step_unit"]
    found = [*textwrap.wrap(head, WIDTH), "", *lines, "", f"10, 50 and 90 % of the clients; a step in {unit}. "
             f"Speeds, 90 % : 10 %: {told['speed_p90_p10']:.3g}"]  # fmt: skip
    if told["sources"]:
        found += ["", "sources"]
    for source in told["sources"]:
        found += textwrap.wrap(source, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    if told["synthetic"]:
        found += ["", "synthetic", *(f"  {line}" for line in textwrap.wrap(told["synthetic"], WIDTH - 2))]
    return "\n".join(found)


def _row(one: dict[str, Any], unit: str) -> tuple[str, ...]:
    def three(values: list[float | None], write: Any) -> str:
        same = len(set(values)) == 1
        return write(values[0]) if same else " ".join(write(value) for value in values)

    def rate(value: float | None) -> str:
        return "endless" if value is None else f"{units.size(value)}/s"

    def step(value: float | None) -> str:
        return units.short(value, 3 if (value or 0) < 999.5 else 4) + (" s" if unit == "seconds" else "")

    watts = "–" if all(value is None for value in one["watts"]) else ", ".join(units.short(w, 3) for w in one["watts"])
    return (
        one["name"], units.count(one["clients"]), three(one["step"], step), three(one["up_bytes_per_second"], rate),
        three(one["down_bytes_per_second"], rate),
        three(one["latency_seconds"], _latency),
        f"{math.floor(1000 * one['there'] + 0.5) / 10:g} %", watts,
    )  # fmt: skip


def _latency(value: float | None) -> str:
    number = value or 0.0
    return f"{units.short(1e3 * number, 3)} ms" if number < 0.9995 else f"{units.short(number, 3)} s"
