"""Theory in the report: whether steps are inside the theorems, and the errors that their proofs bound."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as e
from typing import Any

from scenarios import sections, units
from scenarios.results import Result
from scenarios.sections import Entry

FIGURES = (
    # column, heading, what it says, format under the pointer, logarithmic
    ("lyapunov", "Lyapunov value", "Λ of the EF21-SGDM paper: what its proof shows to fall", ".4~g", "auto"),
    ("compression_error", "Compression error", "Σ wᵢ ‖gᵢ − vᵢ‖²: what compression has left out", ".3~g", "yes"),
    ("momentum_error", "Momentum error", "Σ wᵢ ‖vᵢ − ∇fᵢ(x)‖², client by client", ".3~g", "yes"),
    ("mean_momentum_error", "Error of the mean momentum", "‖Σ wᵢ vᵢ − ∇f(x)‖²", ".3~g", "yes"),
    ("measured_alpha", "Measured α", "1 − ‖C(u) − u‖² / ‖u‖², a mean over clients", ".4~f", "no"),
)  # fmt: skip
_FACTS = (
    ("L", "L"), ("L_tilde", "L~"), ("L_mean", "L_AM"), ("sigma_sq", "σ² of a sample"),
    ("sigma_sq_batch", "σ² of a batch"), ("delta", "f(x₀) − f*"), ("f_star", "f*"), ("zeta_sq", "ζ² at x₀"),
)  # fmt: skip
_HEAD = ("α claimed", "γ", "γ allowed", "in use / allowed", "η", "η of theory", "γ is")


def drawn(entries: Sequence[Entry]) -> list[str]:
    """The columns that some method has numbers for."""
    return [key for key, *_ in FIGURES if any(_known(entry, key) for entry in entries)]


def section_body(result: Result, entries: Sequence[Entry]) -> str:
    """Table and figures, as HTML; empty where the scenario did not ask."""
    constants = result.summary.get("theory")
    if not isinstance(constants, dict):
        return ""
    figures = "".join(
        f'<figure><figcaption><h3>{title}</h3><p>{what}</p></figcaption><div class="plot" role="img" '
        f'aria-label="{title} of each method, by round" data-y="{key}" data-hover="{hover}" data-tick="" '
        f'data-log="{log}"></div></figure>'
        for key, title, what, hover, log in FIGURES
        if key in drawn(entries)
    )
    told = (
        "A theorem's step size is what its proof needs, for the worst problem with these constants: steps outside "
        "often train well, and nothing is promised of them. Errors of a round are at the model that it began with."
    )
    known = {name: units.short(constants.get(key)) for key, name in _FACTS}
    return (
        f'{_sentences(entries)}<p>{told}</p>{_table(entries)}<div class="figures">{figures}</div>'
        f"{sections.facts('Constants of the problem', known | {'smoothness is': str(constants.get('L_kind'))})}"
    )


def _known(entry: Entry, key: str) -> bool:
    return any(units.finite(v) is not None for v in entry.rounds[key].tolist())


def _of(entry: Entry) -> dict[str, Any]:
    told = entry.method.get("theory")
    return told if isinstance(told, dict) else {}


def sentence(entry: Entry) -> str:
    """ "ef21-sgdm: gamma = 0.05; its theorem allows 0.002: outside." Empty where there is no theorem."""
    told = _of(entry)
    if not told.get("theorem"):
        return ""
    allowed = units.finite(told.get("gamma_allowed"))
    said = f"{entry.label}: γ = {told.get('gamma')}; "
    if allowed is None:
        return said + f"its theorem {(told.get('why') or ['says no step size'])[0]}."
    where = {True: "inside", False: "outside"}.get(told.get("inside"))  # type: ignore[arg-type]
    why = "".join(f"; but it {one}" for one in told.get("why") or ())
    return said + f"its theorem allows {units.short(allowed)}{f': {where}' if where else ''}{why}."


def _word(told: dict[str, Any], key: str) -> str:
    return str(told.get(key) or units.NONE)


def _sentences(entries: Sequence[Entry]) -> str:
    told = [words for entry in entries if (words := sentence(entry))]
    return f"<ul>{''.join(f'<li>{e(words)}</li>' for words in told)}</ul>" if told else ""


def _table(entries: Sequence[Entry]) -> str:
    head = '<th scope="col" class="text">method</th><th scope="col" class="text">theorem</th>'
    head += "".join(f'<th scope="col">{name}</th>' for name in _HEAD) + '<th scope="col" class="text">source</th>'
    rows = []
    for entry in entries:
        told = _of(entry)
        used = units.ratio(told.get("gamma_first"), told.get("gamma_allowed"))
        where = {True: "inside", False: "outside"}.get(told.get("inside"), units.NONE)  # type: ignore[arg-type]
        cells = (
            units.short(told.get("alpha"), 3), _word(told, "gamma"), units.short(told.get("gamma_allowed")),
            units.short(used, 3), _word(told, "eta"), _word(told, "eta_theory"), where,
        )  # fmt: skip
        theorem = str(told.get("theorem") or "none here")
        rows.append(
            f'<tr><th scope="row">{sections.swatch(entry.style)}{e(entry.label)}</th><td class=text>{e(theorem)}</td>'
            + "".join(f"<td>{e(cell)}</td>" for cell in cells)
            + f"<td class=text>{e(_word(told, 'source'))}</td></tr>"
        )
    return sections.scrolling_table("Step sizes in use, and those that theorems allow", head, rows)
