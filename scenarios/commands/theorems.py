"""`fl-ef21 theory`: constants of a scenario's problem, allowed steps, and the complexity table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from scenarios import units
from scenarios.commands.failures import explained

if TYPE_CHECKING:
    from rich.table import Table

KINDS = {
    "exact": "exact",
    "bound": "a bound that holds everywhere",
    "estimate": "an estimate near x0",
    "reached": "reached by L-BFGS; f* may be a little below",
}
LEAST = 100  # columns, also where nobody sees a terminal


def show(scenario: str, eps: float | None, sets: Sequence[str], format: str, debug: bool) -> None:
    """Print it. Ends with exit code 3 for what cannot be, such as samples that are not here."""
    with explained(debug):
        from fl_ef21.errors import InputError
        from scenarios.loading import load
        from scenarios.setup import prepare
        from scenarios.theory_told import described

        if eps is not None and not 0 < eps < float("inf"):
            raise InputError("--eps", eps, "must be a number > 0")
        told = described(prepare(load(scenario, sets), alone=True), eps)
        if format == "json":
            typer.echo(json.dumps(told, indent=2))
            return
        from rich.console import Console

        width = max(LEAST, Console().width)
        console = Console(highlight=False, markup=False, width=width)
        for part in (_constants(told), _steps(told), *_complexities(told)):
            console.print(part)
        for line in _notes(told):
            console.print(line, soft_wrap=True)


def _table(title: str, *columns: str, words: int = 1) -> Table:
    """The first `words` columns are text."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for i, name in enumerate(columns):
        made.add_column(name, justify="left" if i < words else "right", overflow="fold")
    return made


def _constants(told: dict[str, Any]) -> Table:
    c, number = told["constants"], units.short
    made = _table(f"{told['name']}: {c['clients']:,} clients, d = {c['dim']:,}", "", "value", "what it is", words=1)
    made.columns[2].justify = "left"
    seen = "" if c["L_clients"] == c["clients"] else f", from {c['L_clients']} clients"
    path = "known" if c["sigma_exact"] else "the largest seen on ten steps of gradient descent"
    rows = (
        ("L", c["L"], f"smoothness of f: {KINDS[c['L_kind']]}"),
        ("L~", c["L_tilde"], f"root mean square of the clients' L_i, the largest is {number(c['L_max'])}{seen}"),
        ("L_AM", c["L_mean"], "their mean"),
        ("sigma^2", c["sigma_sq"], f"variance of one sample's gradient: {path}"),
        ("sigma^2 / B", c["sigma_sq_batch"], "of what a client computes"),
        ("f(x0) - f*", c["delta"], f"f* = {number(c['f_star'])}: {KINDS[c['f_star_kind']]}"),
        ("|grad f(x0)|^2", c["grad_norm_sq"], ""),
        ("zeta^2", c["zeta_sq"], "mean |grad f_i - grad f|^2 at x0: how far clients are apart"),
    )
    for name, value, what in rows:
        made.add_row(name, number(value), what)
    return made


def _steps(told: dict[str, Any]) -> Table:
    made = _table("Step sizes", "method", "theorem", "alpha", "gamma", "allowed", "eta", "theory's eta", "", words=2)
    for m in told["methods"]:
        where = {True: "inside", False: "outside", None: units.NONE}[m["inside"]]
        made.add_row(
            m["label"], m["theorem"] or "none here", units.short(m["alpha"]), m["gamma"],
            units.short(m["gamma_allowed"]), m["eta"] or units.NONE, m["eta_theory"] or units.NONE, where,
        )  # fmt: skip
    return made


def _complexities(told: dict[str, Any]) -> list[Table]:
    found = []
    for one in told["complexity"]:
        eps, alpha = units.short(told["eps"]), units.short(one["alpha"])
        title = f"To |grad f| <= {eps} with {one['compressor']}, alpha = {alpha}"
        columns = ("method", "assumes besides", "rounds", "samples a round", "samples", "values sent")
        made = _table(title, *columns, words=2)
        for row in one["rows"]:
            made.add_row(
                row["method"], row["assumes"] or units.NONE, units.short(row["rounds"], 3),
                units.short(row["batch"], 3), units.short(row["samples"], 3), units.short(row["coordinates"], 3),
            )  # fmt: skip
        found.append(made)
    return found


def _notes(told: dict[str, Any]) -> list[str]:
    notes = [f"{m['label']}: its theorem {why}." for m in told["methods"] for why in m["why"]]
    notes += [f"{m['label']}: {m['source']}." for m in told["methods"] if m["source"]]
    if told["complexity"]:
        notes.append(
            "The last tables are orders of magnitude, without the theorems' absolute constants: they compare methods."
        )
    return list(dict.fromkeys(notes))
