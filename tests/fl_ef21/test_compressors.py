"""One contract for every compressor. A newcomer adds a row to CASES."""

from __future__ import annotations

import pickle
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

from fl_ef21 import compressors, randomness, wire
from fl_ef21.compressors import COMPRESSORS, make
from fl_ef21.compressors.powersgd import FACTORS
from fl_ef21.compressors.quantisers import VALUES
from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from fl_ef21.types import Compressor

SHAPES = (("weight", (8, 5)), ("bias", (8,)), ("kernel", (3, 2, 2)))
D = 60
DRAWS = 3000


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


def draw(seed: int, n: int, dim: int = D) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heavy(seed: int, n: int) -> Tensor:
    x = draw(seed, n)
    return x.sign() * x.abs().pow(4)


def spike(seed: int, n: int) -> Tensor:
    x = torch.zeros(n, D, dtype=torch.float64)
    x[torch.arange(n), (seed + 7 * torch.arange(n)) % D] = -1.3
    return x


def flat(seed: int, n: int) -> Tensor:
    return draw(seed, n).sign() * 0.7


def tied(seed: int, n: int) -> Tensor:
    return draw(seed, n).mul(2).round()


KINDS = [draw, heavy, spike, flat, tied]

tiles = st.builds(
    lambda kind, seed, n, scale, dtype: (kind(seed, n) * scale).to(dtype),
    st.sampled_from(KINDS),
    st.integers(0, 2**31),
    st.integers(1, 4),
    st.sampled_from([1.0, 1e-3, 1e-30, 1e15]),
    st.sampled_from([torch.float32, torch.float64]),
)


def keys(n: int, round: int = 0) -> Tensor:
    return randomness.keys(5, "compressor", torch.arange(n), round)


def lost(c: Compressed, u: Tensor) -> Tensor:
    """|C(u) - u|^2 / |u|^2 of each row, in float64; 0 for a row of zeros."""
    u = u.double()
    size = u.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
    return ((c.dense().double() - u) / size).square().sum(1) / (u / size).square().sum(1).clamp(min=1e-300)


def same(a: Compressed, b: Compressed) -> bool:
    return torch.equal(a.counts, b.counts) and torch.equal(a.dense(), b.dense())


# The claims


@each([case for case in CONTRACTIVE if not case.random])
@settings(deadline=None, max_examples=40)
@given(u=tiles)
def test_it_contracts_as_it_claims(case: Case, u: Tensor) -> None:
    C = case.build()
    assert (lost(C(u, keys(len(u))), u) <= 1 - C.alpha(D) + 1e-6).all()


@each([case for case in CONTRACTIVE if case.random])
@pytest.mark.parametrize("kind", KINDS)
def test_it_contracts_as_it_claims_on_average(case: Case, kind: Callable[[int, int], Tensor]) -> None:
    C, u = case.build(), kind(3, 1).expand(500, D)
    ratio = lost(C(u, keys(500)), u)
    assert ratio.mean() <= 1 - C.alpha(D) + 4 * ratio.std() / 500**0.5 + 1e-9


@each(UNBIASED)
@pytest.mark.parametrize("kind", KINDS)
def test_its_mean_is_u_and_its_variance_as_claimed(case: Case, kind: Callable[[int, int], Tensor]) -> None:
    C, u = case.build(), kind(3, 1).expand(DRAWS, D)
    c = C(u, keys(DRAWS))
    ratio, dense = lost(c, u), c.dense()
    assert ratio.mean() <= C.omega(D) + 4 * ratio.std() / DRAWS**0.5
    spread = dense.std(dim=0).clamp(min=0.02 * float(u[0].norm()))  # rare events have not shown theirs
    assert ((dense.mean(dim=0) - u[0]).abs() <= 5 * spread / DRAWS**0.5).all()


@each([case for case in CASES if getattr(case.build(), "absolute", lambda _: None)(D) is not None])
@settings(deadline=None)
@given(u=tiles)
def test_its_error_stays_below_its_absolute_bound(case: Case, u: Tensor) -> None:
    C = case.build()
    error = (C(u, keys(len(u))).dense().double() - u.double()).square().sum(dim=1)
    assert (error <= C.absolute(D)).all()


@each(CASES)
def test_its_figures_belong_together(case: Case) -> None:
    C = case.build()
    assert C.contractive == (C.alpha(D) is not None)
    assert C.unbiased == (C.omega(D) is not None)
    assert not C.contractive or 0 < C.alpha(D) <= 1
    assert not C.unbiased or C.omega(D) >= 0
    assert C.bits(D) is None or 0 < C.bits(D) <= 32 * D + 32 * len(SHAPES)


# Messages


@each(CASES)
def test_the_same_keys_give_the_same_message(case: Case) -> None:
    C, u = case.build(), draw(1, 3).float()
    assert same(C(u, keys(3)), C(u.clone(), keys(3)))
    assert same(C(u, keys(3)), C(u, keys(3, round=1))) != case.random


@each(RANDOM)
def test_clients_with_one_vector_draw_for_themselves(case: Case) -> None:
    dense = case.build()(draw(1, 1).expand(5, D), keys(5)).dense()
    assert len(dense.unique(dim=0)) == 5


@each(CASES)
@settings(deadline=None, max_examples=12)
@given(u=tiles)
def test_a_row_does_not_depend_on_its_tile(case: Case, u: Tensor) -> None:
    C, k = case.build(), keys(len(u))
    alone = torch.cat([C(u[i : i + 1], k[i : i + 1]).dense() for i in range(len(u))])
    assert torch.equal(C(u, k).dense(), alone)
    together = wire.encode(C(u, k))
    for i in range(len(u)):
        assert wire.encode(C(u[i : i + 1], k[i : i + 1])) == together[i : i + 1]


@each(CASES)
@settings(deadline=None, max_examples=12)
@given(u=tiles)
def test_a_decoder_sees_exactly_what_was_compressed(case: Case, u: Tensor) -> None:
    C = case.build()
    c = C(u, keys(len(u)))
    decoded, refused = wire.decode(wire.encode(c), wire.Spec.of(c))
    assert not refused
    assert same(decoded, c)


@each(CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_in_is_nothing_out(case: Case, dtype: torch.dtype) -> None:
    dense = case.build()(torch.zeros(2, D, dtype=dtype), keys(2)).dense()
    assert dense.shape == (2, D)
    assert not dense.any()


@each(CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_near_the_smallest_float_stay_near_it(case: Case, dtype: torch.dtype) -> None:
    dense = case.build()(draw(2, 2).mul(1e-40).to(dtype), keys(2)).dense()
    assert (dense.abs() < 1e-36).all()


@each(CASES)
@settings(deadline=None, max_examples=12)
@given(u=tiles)
def test_adding_a_message_adds_what_a_decoder_sees(case: Case, u: Tensor) -> None:
    c = case.build()(u, keys(len(u)))
    dense = c.dense()
    half = case.options.get("values") in ("bfloat16", "float16")
    assert dense.dtype == (torch.float32 if half else u.dtype)
    assert torch.equal(u + c, u + dense.to(u.dtype))
    assert torch.equal(u - c, u - dense.to(u.dtype))
    weights = torch.arange(1.0, 1 + len(u), dtype=torch.float64)
    torch.testing.assert_close(c.total(weights), weights @ dense.double(), rtol=1e-12, atol=0)


@each(CASES)
def test_a_message_outlives_its_vector(case: Case) -> None:
    u, k = draw(4, 2), keys(2)
    c = case.build()(u, k)
    before = c.dense().clone()
    assert torch.equal(u, draw(4, 2))
    assert torch.equal(k, keys(2))
    u.zero_()
    assert torch.equal(c.dense(), before)


@each(CASES)
def test_a_message_of_no_clients_is_empty(case: Case) -> None:
    c = case.build()(torch.zeros(0, D), keys(0))
    assert c.dense().shape == (0, D)


@each(CASES)
def test_vectors_that_are_views_compress_alike(case: Case) -> None:
    u = draw(6, 3)
    assert same(case.build()(u.T.contiguous().T, keys(3)), case.build()(u, keys(3)))


@each(CASES)
def test_it_is_a_short_value_that_travels(case: Case) -> None:
    C = case.build()
    assert pickle.loads(pickle.dumps(C)) == C == case.build()
    assert hash(C) == hash(case.build())
    assert len(repr(C)) < 60


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


@each(CASES)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused_or_sent_on_for_the_server_to_refuse(case: Case, bad: float) -> None:
    u = draw(1, 1)
    u[0, 3] = bad
    try:
        dense = case.build()(u, keys(1)).dense()
    except (ValueError, RuntimeError):
        return
    assert not dense.isfinite().all() or case.name == "randk"  # which may not have drawn it
