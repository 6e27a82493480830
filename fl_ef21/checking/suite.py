"""Every property of one compressor, on vectors of every kind."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_ef21.checking import claims, forms
from fl_ef21.checking.claims import Broken
from fl_ef21.checking.tiles import KINDS, SCALES, draw
from fl_ef21.threads import computing_with
from fl_ef21.types import Compressor

Property = Callable[[Compressor, Tensor], None]
ON_ALL: dict[str, Property] = {
    "its error stays below its absolute bound": claims.stays_below_its_bound,
    "its figures belong together": claims.its_figures_belong_together,
    "the same keys give the same message": forms.is_of_its_keys_alone,
    "a row does not depend on its tile": forms.rows_are_alone,
    "a decoder sees exactly what was compressed": forms.a_decoder_sees_it,
    "nothing in is nothing out": forms.zeros_stay_zeros,
    "numbers near the smallest float stay near it": forms.tiny_numbers_stay_tiny,
    "adding a message adds what a decoder sees": forms.adding_it_adds_what_a_decoder_sees,
    "a message outlives its vector": forms.outlives_its_vector,
    "a message of no clients is empty": forms.of_no_clients_is_empty,
    "vectors that are views compress alike": forms.views_compress_alike,
    "it is a short value that travels": forms.is_a_short_value,
    "a number that is none is refused or sent on": forms.a_number_that_is_none_shows,
}


@dataclass(frozen=True)
class Finding:
    """One property. told: how it was broken, empty where it holds; beside: why it does not apply, or a figure."""

    says: str
    told: str = ""
    beside: str = ""

    @property
    def holds(self) -> bool:
        return not self.told


def suite(C: Compressor, dim: int) -> Iterator[Finding]:
    """One finding for each property that a compressor of its claims must have, on vectors of R^dim."""
    with computing_with(1):
        for says, holds in properties(C, dim).items():
            yield Finding(says, _broken(holds, C, dim, says))


MEANS = ("it contracts as it claims on average", "its mean is u and its variance as claimed")
APART = "clients with one vector draw for themselves"  # of a vector with few numbers several may draw the same


def properties(C: Compressor, dim: int) -> dict[str, Property]:
    """Those that C must have."""
    random = claims.draws(C, dim)
    found: dict[str, Property] = {}
    if C.contractive and not random:
        found["it contracts as it claims"] = claims.contracts
    if C.contractive and random:
        found[MEANS[0]] = claims.contracts_on_average
    if C.unbiased:
        found[MEANS[1]] = claims.has_mean_u
    if random:
        found[APART] = forms.clients_draw_for_themselves
    return found | ON_ALL


def _broken(holds: Property, C: Compressor, dim: int, says: str) -> str:
    means = says in MEANS
    for dtype in (torch.float64,) if means else (torch.float64, torch.float32):
        for kind in (draw,) if says == APART else KINDS:
            for scale in (1.0,) if means else SCALES:
                try:
                    holds(C, (kind(3, 4, dim) * scale).to(dtype))
                except Broken as broken:
                    return f"{broken} ({kind.__name__} times {scale:g}, {str(dtype).removeprefix('torch.')})"
                except Exception as error:  # somebody's code: whatever it raises breaks the promise
                    return told_by(error)
    return ""


def told_by(error: BaseException) -> str:
    """What was raised, and the file and line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
