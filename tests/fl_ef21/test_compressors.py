"""One contract for every compressor. A newcomer adds a row to CASES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_ef21 import compressors
from fl_ef21.checking import claims, forms
from fl_ef21.checking import tiles as vectors
from fl_ef21.checking.suite import ON_ALL
from fl_ef21.checking.tiles import KINDS
from fl_ef21.compressors import COMPRESSORS, make
from fl_ef21.compressors.powersgd import FACTORS
from fl_ef21.compressors.quantisers import VALUES
from fl_ef21.errors import InputError
from fl_ef21.types import Compressor

SHAPES = (("weight", (8, 5)), ("bias", (8,)), ("kernel", (3, 2, 2)))
D = 60
Kind = Callable[[int, int, int], Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in an actor, and without threads that wait for one another over tiny matrices."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Case:
    """A registered name with options; `random` where the keys matter."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    random: bool = False

    def build(self) -> Compressor:
        return make(self.name, dim=D, shapes=SHAPES, **self.options)

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


CASES = [
    Case("identity"),
    Case("topk", {"k": 7}),
    Case("topk", {"fraction": 0.01}),
    Case("topk", {"fraction": 1.0}),
    Case("block-topk", {"k": 3, "block": 16}),
    Case("block-topk", {"fraction": 0.5, "block": 30}),
    Case("layer-topk", {"fraction": 0.2}),
    Case("randk", {"k": 12}, random=True),
    Case("randk", {"fraction": 0.1, "scaled": True}, random=True),
    Case("hard-threshold", {"threshold": 0.5}),
    Case("grid", {"step": 0.5}),
    Case("sign"),
    Case("natural", random=True),
    Case("natural", {"contractive": False}, random=True),
    Case("qsgd", {"levels": 4}, random=True),
    Case("qsgd", {"levels": 1}, random=True),
    Case("qsgd", {"levels": 3, "bucket": 16}, random=True),
    Case("qsgd", {"levels": 4, "contractive": False}, random=True),
    Case("qsgd", {"levels": 2, "bucket": 7, "contractive": False}, random=True),
    Case("powersgd", {"rank": 1}, random=True),
    Case("powersgd", {"rank": 2, "iterations": 1}, random=True),
]
ROUNDED: list[dict[str, Any]] = [
    {"values": "exact"},
    {"values": "bfloat16"},
    {"values": "float16"},
    {"values": "int8"},
    {"values": "int8", "scale_block": 4},
    {"values": "int4", "scale_block": 3},
    {"values": "sign"},
    {"values": "natural"},
    {"values": "qsgd", "levels": 3},
    {"values": "qsgd", "levels": 20, "scale_block": 5},
]
CASES += [
    Case(base.name, base.options | rounding, base.random)
    for base in (
        Case("identity"),
        Case("topk", {"k": 7}),
        Case("block-topk", {"k": 3, "block": 16}),
        Case("layer-topk", {"fraction": 0.2}),
        Case("randk", {"k": 12}, random=True),
        Case("randk", {"fraction": 0.1, "scaled": True}, random=True),
        Case("hard-threshold", {"threshold": 0.5}),
    )
    for rounding in ROUNDED
]
CASES += [Case("powersgd", {"rank": rank, "values": values}, random=True) for rank in (1, 2) for values in FACTORS]
RANDOM = [case for case in CASES if case.random]
CONTRACTIVE = [case for case in CASES if case.build().contractive]
UNBIASED = [case for case in CASES if case.build().unbiased and case.random]


def rare(case: Case) -> bool:
    """A rounding that other sparsifiers, which select in another way, have in every run."""
    other = case.name in ("block-topk", "layer-topk", "hard-threshold") or "scaled" in case.options
    return other and case.options.get("values", "bfloat16") not in ("bfloat16", "int8")


def each(cases: list[Case]) -> Callable[[Any], Any]:
    marked = [pytest.param(case, marks=[pytest.mark.nightly] if rare(case) else []) for case in cases]
    return pytest.mark.parametrize("case", marked, ids=str)


def draw(seed: int, n: int) -> Tensor:
    return vectors.draw(seed, n, D)


tiles = st.builds(
    lambda kind, seed, n, scale, dtype: (kind(seed, n, D) * scale).to(dtype),
    st.sampled_from(KINDS),
    st.integers(0, 2**31),
    st.integers(1, 4),
    st.sampled_from(vectors.SCALES),
    st.sampled_from([torch.float32, torch.float64]),
)


# The suite, which holds anybody's compressor to the same


@each([case for case in CONTRACTIVE if not case.random])
@settings(deadline=None, max_examples=40)
@given(u=tiles)
def test_it_contracts_as_it_claims(case: Case, u: Tensor) -> None:
    claims.contracts(case.build(), u)


@each([case for case in CONTRACTIVE if case.random])
@pytest.mark.parametrize("kind", KINDS)
def test_it_contracts_as_it_claims_on_average(case: Case, kind: Kind) -> None:
    claims.contracts_on_average(case.build(), kind(3, 1, D))


@each(UNBIASED)
@pytest.mark.parametrize("kind", KINDS)
def test_its_mean_is_u_and_its_variance_as_claimed(case: Case, kind: Kind) -> None:
    claims.has_mean_u(case.build(), kind(3, 1, D))


@each([case for case in CASES if getattr(case.build(), "absolute", lambda _: None)(D) is not None])
@settings(deadline=None)
@given(u=tiles)
def test_its_error_stays_below_its_absolute_bound(case: Case, u: Tensor) -> None:
    claims.stays_below_its_bound(case.build(), u)


EVERY = [forms.rows_are_alone, forms.a_decoder_sees_it, forms.adding_it_adds_what_a_decoder_sees]
ONCE = [holds for holds in ON_ALL.values() if holds not in (*EVERY, claims.stays_below_its_bound)]


@each(CASES)
@settings(deadline=None, max_examples=12)
@given(u=tiles)
def test_its_messages_are_of_their_rows_alone_and_what_a_decoder_sees(case: Case, u: Tensor) -> None:
    C = case.build()
    for holds in EVERY:
        holds(C, u)


@each(CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_other_promise_is_kept(case: Case, dtype: torch.dtype) -> None:
    C, u = case.build(), draw(1, 3).to(dtype)
    for holds in ONCE:
        holds(C, u)


@each(CASES)
def test_it_costs_no_more_than_what_it_compresses(case: Case) -> None:
    bits = case.build().bits(D)
    assert bits is None or 0 < bits <= 32 * D + 32 * len(SHAPES)


@each(CASES)
def test_its_keys_matter_where_it_is_random(case: Case) -> None:
    assert claims.draws(case.build(), D) == case.random


@each(RANDOM)
def test_clients_with_one_vector_draw_for_themselves(case: Case) -> None:
    dense = case.build()(draw(1, 1).expand(5, D), vectors.keys(5)).dense()
    assert len(dense.unique(dim=0)) == 5


@each(CASES)
def test_its_message_has_the_dtype_of_what_is_sent(case: Case) -> None:
    half = case.options.get("values") in ("bfloat16", "float16")
    assert case.build()(draw(1, 2), vectors.keys(2)).dense().dtype == (torch.float32 if half else torch.float64)


# The registry


def test_every_compressor_and_every_file_is_tested_here() -> None:
    assert {case.name for case in CASES} == set(COMPRESSORS)
    assert {rounding["values"] for rounding in ROUNDED} == set(VALUES)
    for name, kind in COMPRESSORS.items():
        said = {case.options.get("values") for case in CASES if case.name == name} - {None}
        takes = "values" in signature(kind.from_options).parameters
        assert said == (set(FACTORS) if name == "powersgd" else set(VALUES) if takes else set())
    files = {path.stem for path in Path(compressors.__file__).parent.glob("*.py")}
    registered = {kind.__module__.rsplit(".", 1)[1] for kind in COMPRESSORS.values()}
    assert files - registered == {"__init__", "levels", "options", "rows", "quantisers", "short"}


def test_a_fraction_becomes_a_count() -> None:
    model = {"dim": 7850, "shapes": (("x", (7850,)),)}
    assert repr(make("topk", fraction=0.01, **model)) == "TopK(k=78, values=exact)"
    assert repr(make("topk", fraction=1e-9, **model)) == "TopK(k=1, values=exact)"
    assert repr(make("block-topk", fraction=0.1, block=100, **model)) == "BlockTopK(k=10, block=100, values=exact)"


def test_an_option_that_is_none_is_not_given() -> None:
    assert make("topk", dim=D, shapes=SHAPES, k=3, fraction=None, levels=None) == make(
        "topk", dim=D, shapes=SHAPES, k=3
    )


@pytest.mark.parametrize(
    ("name", "options", "wrong"),
    [
        ("topkk", {}, "compressor"),
        ("topk", {}, "k"),
        ("topk", {"k": 3, "fraction": 0.1}, "fraction"),
        ("topk", {"k": 0}, "k"),
        ("topk", {"k": D + 1}, "k"),
        ("topk", {"k": 2.5}, "k"),
        ("topk", {"k": True}, "k"),
        ("topk", {"fraction": 0.0}, "fraction"),
        ("topk", {"fraction": 1.1}, "fraction"),
        ("topk", {"fraction": float("nan")}, "fraction"),
        ("topk", {"fraction": "0.1"}, "fraction"),
        ("topk", {"k": 3, "block": 4}, "block"),
        ("topk", {"k": 3, "fracton": 4}, "fracton"),
        ("identity", {"k": 3}, "k"),
        ("block-topk", {"k": 3}, "block"),
        ("block-topk", {"k": 3, "block": 0}, "block"),
        ("block-topk", {"k": 3, "block": D + 1}, "block"),
        ("block-topk", {"k": 9, "block": 8}, "k"),
        ("layer-topk", {}, "fraction"),
        ("layer-topk", {"fraction": -0.1}, "fraction"),
        ("randk", {"k": 3, "scaled": 1}, "scaled"),
        ("hard-threshold", {}, "threshold"),
        ("hard-threshold", {"threshold": 0}, "threshold"),
        ("hard-threshold", {"threshold": float("nan")}, "threshold"),
        ("hard-threshold", {"threshold": float("inf")}, "threshold"),
        ("grid", {}, "step"),
        ("grid", {"step": 0}, "step"),
        ("natural", {"contractive": "yes"}, "contractive"),
        ("qsgd", {}, "levels"),
        ("qsgd", {"levels": 0}, "levels"),
        ("qsgd", {"levels": 2**15}, "levels"),
        ("qsgd", {"levels": 4, "bucket": 0}, "bucket"),
        ("qsgd", {"levels": 4, "bucket": D + 1}, "bucket"),
        ("powersgd", {}, "rank"),
        ("powersgd", {"rank": 0}, "rank"),
        ("powersgd", {"rank": 1, "iterations": 0}, "iterations"),
        ("powersgd", {"rank": 1, "values": "int8"}, "values"),
        ("topk", {"k": 3, "values": "bfloat"}, "values"),
        ("topk", {"k": 3, "values": "qsgd"}, "levels"),
        ("topk", {"k": 3, "values": "qsgd", "levels": 0}, "levels"),
        ("topk", {"k": 3, "values": "sign", "levels": 4}, "levels"),
        ("topk", {"k": 3, "values": "int8", "levels": 4}, "levels"),
        ("topk", {"k": 3, "values": "int8", "scale_block": 0}, "scale_block"),
        ("topk", {"k": 3, "values": "bfloat16", "scale_block": 8}, "scale_block"),
        ("sign", {"values": "bfloat16"}, "values"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError) as caught:
        make(name, dim=D, shapes=SHAPES, **options)
    assert caught.value.field == wrong
    assert caught.value.value is options.get(wrong, name if wrong == "compressor" else None)
