"""`fl-ef21 check`: the suites of fl_ef21/checking and scenarios/checking as tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from fl_ef21 import plugins
from fl_ef21.errors import InputError, nearest
from scenarios.commands.failures import Code, explained

if TYPE_CHECKING:
    from fl_ef21.checking.card import Row
    from fl_ef21.checking.suite import Finding

DIMS = (60, 1000, 7850, 100_000)  # the suite's vectors: the first length that the options can be of
CARD = ("d", "alpha", "keeps", "keeps at least", "omega", "bits/coord.", "sent", "ms/MB", "encoding")
MEANING = (
    "alpha and omega as claimed at d; what is kept of |u|^2 of normal vectors, and of those it keeps least of; bits as "
    "papers count them and as sent; milliseconds for a MB of float32 on one core"
)


def check(
    name: str, like: str | None, oracle: str | None, sets: Sequence[str], format: str, debug: bool
) -> None:  # fmt: skip
    """Print findings, and of a compressor its card. Exit code 5 where a promise is broken, 3 where nothing can run."""
    with explained(debug):
        kind, compresses = _what(name)
        if compresses:
            if like or oracle or sets:
                told = "belongs to methods; options of a compressor follow a colon, such as topk:0.01"
                raise InputError("--like" if like else "--oracle" if oracle else "--set", like or oracle or sets, told)
            findings, rows = _compressor(name)
        else:
            from scenarios.checking.methods import suite
            from scenarios.checking.small import Subject

            findings, rows = list(suite(Subject(name, tuple(sets)), like, oracle)), []
    if format == "json":
        found = [asdict(finding) | {"holds": finding.holds} for finding in findings]
        typer.echo(json.dumps({"name": name, "findings": found, "card": [asdict(row) for row in rows]}, indent=2))
    else:
        _print(name, kind, findings, rows)
    if not all(finding.holds for finding in findings):
        raise typer.Exit(Code.FAILED)


def _what(name: str) -> tuple[type[Any], bool]:
    """The class, and whether it is a compressor's. Raises: InputError where it is neither."""
    from clients import METHODS
    from fl_ef21.compressors import COMPRESSORS

    if plugins.named(name, COMPRESSORS) in COMPRESSORS:
        return COMPRESSORS[plugins.named(name, COMPRESSORS)], True
    if name in METHODS:
        return METHODS[name], False
    methods, compressors = (plugins.installed(group) for group in (plugins.METHODS, plugins.COMPRESSORS))
    path = plugins.named(name, [*compressors, *COMPRESSORS])
    if path in methods:
        return METHODS[path], False
    if ":" not in path and path not in compressors:
        known = [*METHODS, *COMPRESSORS, *methods, *compressors]
        advice = f'{nearest(path, known)} A class of yours is written "package.module:Class"'
        raise InputError("NAME", name, advice)
    try:
        kind = COMPRESSORS[path]
    except InputError as error:
        raise InputError("NAME", name, error.advice) from error
    if hasattr(kind, "from_options"):
        return kind, True
    if hasattr(kind, "step"):
        return METHODS[name], False
    told = "is neither: a compressor has from_options, a method start and step; see docs/new-compressor.md"
    raise InputError("NAME", name, f"{told} and docs/new-method.md")


def _compressor(word: str) -> tuple[list[Finding], list[Row]]:
    from fl_ef21.checking.card import card
    from fl_ef21.checking.suite import suite
    from fl_ef21.checking.tiles import shapes
    from fl_ef21.compressors.short import named

    for dim in DIMS:
        try:
            C = named(word, dim=dim, shapes=shapes(dim))
        except InputError:
            if dim == DIMS[-1]:
                raise
            continue
        break
    return list(suite(C, dim)), card(word)


def _print(name: str, kind: type[Any], findings: Iterable[Finding], rows: Iterable[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)
    console.print(Text(f"{name}  {kind.__module__}.{kind.__qualname__}", style="bold"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = Text("holds", style="green") if finding.holds else Text("BROKEN", style="bold red")
        table.add_row(mark, Text(finding.says), Text(finding.told or finding.beside))
    console.print(table)
    rows = list(rows)
    if not rows:
        return
    console.print()
    table = Table(box=None, pad_edge=False)
    for heading in CARD:
        table.add_column(heading, justify="right")
    for row in rows:
        figures = (row.alpha, row.kept, row.worst, row.omega, row.bits, row.sent, row.compress, row.encode)
        table.add_row(f"{row.dim:,}".replace(",", " "), *(_figure(figure) for figure in figures))
    console.print(table)
    console.print(Text(MEANING, style="dim"))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
