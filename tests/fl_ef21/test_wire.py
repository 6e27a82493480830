"""Payloads: exact both ways, small, and read by a second decoder written from the document."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import All, Compressed, Factors, Floats, Indices, Levels, Powers, Seeded, Signs
from tests import slow_decoder
from tests.payloads import KINDS, Doubled, message, same

GOLDEN = Path(__file__).parent / "golden"

# Both ways


@pytest.mark.parametrize(("support", "values"), KINDS)
def test_what_is_decoded_is_what_was_encoded(support, values):
    @settings(deadline=None, max_examples=15)
    @given(d=st.integers(1, 60).map(lambda half: 2 * half), data=st.data(), seed=st.integers(0, 2**32))
    def check(d, data, seed):
        c = message(support, values, d, data.draw(st.lists(st.integers(0, d), min_size=1, max_size=6)), seed)
        payloads = wire.encode(c)
        decoded, refused = wire.decode(payloads, wire.Spec.of(c))
        assert not refused
        assert same(decoded, c)
        assert all(p[-4:] == google_crc32c.value(p[:-4]).to_bytes(4, "little") for p in payloads)

    check()


@pytest.mark.parametrize(("d", "k"), [(100_000, 1), (100_000, 7), (2**32 - 1, 3), (65_536, 255), (7850, 78)])
def test_sparse_indices_of_large_vectors_come_back(d, k):
    rows = [torch.randint(0, d, (9 * k,), generator=torch.Generator().manual_seed(i)).unique() for i in range(3)]
    edge = torch.cat([torch.arange(k - 1), torch.tensor([d - 1])])
    index = torch.cat([*(row[torch.randperm(len(row))[:k]].sort().values for row in rows), edge])
    c = Compressed(d, torch.full((4,), k), Indices(index), Floats(torch.ones(4 * k)))
    decoded, refused = wire.decode(wire.encode(c), wire.Spec.of(c))
    assert not refused
    assert torch.equal(decoded.support.flat, index)


def test_a_client_is_encoded_alike_alone_and_among_others():
    c = message("indices", "levels 1", 50, [3, 0, 50, 3, 17, 3])
    together, start = wire.encode(c), 0
    for i, k in enumerate(c.counts.tolist()):
        entries = slice(start, start + k)
        alone = Compressed(
            50,
            c.counts[i : i + 1],
            Indices(c.support.flat[entries]),
            replace(c.values, level=c.values.level[entries], unit=c.values.unit[i : i + 1]),
        )
        assert wire.encode(alone) == [together[i]]
        start += k


def test_a_round_without_clients_is_no_payloads():
    c = message("indices", "floats 1", 10, [2])
    none = Compressed(10, torch.zeros(0, dtype=torch.int64), Indices(c.support.flat[:0]), Floats(torch.zeros(0)))
    assert wire.encode(none) == []
    decoded, refused = wire.decode([], wire.Spec.of(c))
    assert len(decoded) == 0
    assert refused == {}


def test_the_frame_takes_17_bytes():
    c = Compressed(10, torch.tensor([0]), Indices(torch.zeros(0, dtype=torch.int64)), Floats(torch.zeros(0)))
    assert len(wire.encode(c)[0]) == 17


@pytest.mark.parametrize(
    ("d", "k", "most"),
    [(7850, 78, 1.03), (100_000, 64, 1.03), (7850, 785, 1.03), (100_000, 1000, 1.015), (1_000_000, 10_000, 1.01),
     (100_000, 10_000, 1.01), (1_000_000, 100_000, 1.01)],
)  # fmt: skip
def test_indices_of_uniform_supports_take_little_more_than_log2_of_how_many_there_are(d, k, most):
    rng, sizes = torch.Generator().manual_seed(k), []
    for _ in range(20 if k < 1000 else 3):
        index = torch.randperm(d, generator=rng)[:k].sort().values
        signs = Signs(torch.rand(k, generator=rng) < 0.5, torch.ones(1))
        payload = wire.encode(Compressed(d, torch.tensor([k]), Indices(index), signs))[0]
        sizes.append(8 * (len(payload) - 17 - 4 - (k + 7) // 8))  # the frame, the scale, a bit for each sign
    limit = (math.lgamma(d + 1) - math.lgamma(k + 1) - math.lgamma(d - k + 1)) / math.log(2)
    assert sum(sizes) / len(sizes) <= most * limit


def test_a_frame_takes_22_bytes_at_the_most():
    c = message("indices", "floats 2", 1_000_000, [200_000])
    payload = wire.encode(c)[0]
    assert payload[4] >> 4 == 2  # classes, so the length of the values is stated
    at = 13
    while payload[at] & 128:
        at += 1
    assert at + 1 - 13 + 17 <= 22


def test_a_round_is_added_as_it_is_read():
    for i in range(4):
        c = message("indices", f"floats {i}", 3000, [700, 0, 3000, 5, 300], i)
        payloads, weights = wire.encode(c), torch.rand(5, dtype=torch.float64)
        payloads[3] = payloads[3][:-1] + bytes([payloads[3][-1] ^ 1])
        total, refused = wire.total(payloads, wire.Spec.of(c), weights)
        assert {row: r.reason for row, r in refused.items()} == {3: "crc"}
        assert torch.equal(total, c.total(weights * torch.tensor([1, 1, 1, 0, 1])))


def test_a_sum_says_how_long_each_message_is():
    kinds = [("indices", "floats 0"), ("indices", "floats 2"), ("indices", "levels 0"), ("seeded", "floats 1")]
    for support, values in [*kinds, ("all", "floats 2"), ("all", "signs 1")]:
        counts = [3000] * 3 if support == "all" else [700] * 3 if support == "seeded" else [700, 0, 3000]
        c, norms = message(support, values, 3000, counts), np.full(3, -1.0)
        payloads = wire.encode(c)
        payloads[2] = payloads[2][:-1] + bytes([payloads[2][-1] ^ 1])
        wire.total(payloads, wire.Spec.of(c), torch.ones(3, dtype=torch.float64), norms)
        assert np.allclose(norms, c.dense().double().norm(dim=1) * torch.tensor([1, 1, 0]), rtol=1e-12)


def test_a_sum_refuses_what_a_decoder_refuses():
    c = message("indices", "floats 2", 3000, [700, 4, 900])
    flat = c.values.flat.clone()
    flat[702] = float("inf")
    payloads = wire.encode(replace(c, values=Floats(flat)))
    weights = torch.ones(3, dtype=torch.float64)
    total, refused = wire.total(payloads, wire.Spec.of(c), weights)
    assert {row: r.reason for row, r in refused.items()} == {1: "values"}
    assert torch.equal(total, c.total(weights * torch.tensor([1, 0, 1])))


def test_values_the_format_has_no_code_for_are_a_type_error():
    c = message("all", "floats 1", 4, [4])
    with pytest.raises(TypeError, match="object"):
        wire.encode(replace(c, values=object()))
    with pytest.raises(TypeError, match="object"):
        wire.encode(replace(c, support=object()))


# A second decoder, written from the document alone


@pytest.mark.parametrize(("d", "counts"), [(90, [31, 5, 0, 90, 2]), (9000, [700, 4500, 9000, 300])])
@pytest.mark.parametrize(("support", "values"), KINDS)
def test_a_decoder_written_from_the_document_reads_the_same(support, values, d, counts):
    c = message(support, values, d, counts)
    start = 0
    for payload, k in zip(wire.encode(c), c.counts.tolist(), strict=True):
        dim, index, numbers = slow_decoder.read(payload, factors=d // 2)
        assert (dim, len(index)) == (d, k)
        if isinstance(c.support, Indices):
            assert index == c.support.flat[start : start + k].tolist()
        if isinstance(c.values, Factors):
            assert [x / 2 for x in numbers] * 2 == c.values.real(c.counts)[start : start + k].tolist()
        else:
            real = c.values.real(c.counts)[start : start + k]
            assert torch.equal(torch.tensor(numbers, dtype=torch.float64).to(real.dtype), real)
        start += k


# Layers whose empty rows and columns are left out


@st.composite
def matrices(draw: st.DrawFn) -> tuple[tuple[tuple[int, int], ...], list[list[int]]]:
    """Layers, and indices of a few clients, most of them in few rows and columns."""
    layers = tuple(draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), min_size=1, max_size=4)))
    rng, clients = random.Random(draw(st.integers(0, 2**32))), []
    for _ in range(draw(st.integers(1, 3))):
        chosen, first = set[int](), 0
        for rows, columns in layers:
            r, c = (rng.sample(range(n), rng.randint(0, n)) for n in (rows, columns))
            chosen |= {first + i * columns + j for i in r for j in c if rng.random() < 0.7}
            first += rows * columns
        clients.append(sorted(chosen))
    return layers, clients


def at(d: int, clients: list[list[int]]) -> Compressed:
    """bfloat16 ones at these indices."""
    flat = torch.tensor([i for index in clients for i in index], dtype=torch.int64)
    counts = torch.tensor([len(index) for index in clients])
    return Compressed(d, counts, Indices(flat), Floats(torch.ones(len(flat)).bfloat16()))


@settings(deadline=None, max_examples=150)
@given(given=matrices())
def test_indices_come_back_without_empty_rows_and_columns(given):
    layers, clients = given
    c = at(sum(rows * columns for rows, columns in layers), clients)
    spec = replace(wire.Spec.of(c), layers=layers)
    payloads = wire.encode(c, layers)
    decoded, refused = wire.decode(payloads, spec)
    assert not refused
    assert same(decoded, c)
    assert all(len(p) <= len(flat) for p, flat in zip(payloads, wire.encode(c), strict=True))
    assert torch.equal(wire.total(payloads, spec, torch.ones(len(clients)).double())[0], c.dense().double().sum(dim=0))
    for payload, index in zip(payloads, clients, strict=True):
        assert slow_decoder.read(payload, layers=layers)[1] == index


def test_dead_columns_cost_nothing_but_their_map():
    layers, rng = ((100, 784), (1, 100)), random.Random(0)
    live = [row * 784 + column for row in range(100) for column in range(200, 300) if rng.random() < 0.1]
    c = at(78_500, [live])
    (layered,), (flat,) = wire.encode(c, layers), wire.encode(c)
    assert layered[4] & 15 > 4
    assert len(layered) < 0.95 * len(flat)
    assert len(layered) - len(wire.encode(at(10_100, [[i // 784 * 100 + i % 784 - 200 for i in live]]))[0]) < 20


def test_a_receiver_that_knows_of_no_layers_refuses_them():
    layers = ((100, 784),)
    c = at(78_400, [[row * 784 + column for row in range(100) for column in range(7)]])
    payload = wire.encode(c, layers)[0]
    assert payload[4] & 15 > 4
    with pytest.raises(Refused, match="codes"):
        wire.check(payload, wire.Spec.of(c))


def test_layers_that_do_not_make_up_the_vector_are_a_value_error():
    c = at(60, [[1, 2]])
    with pytest.raises(ValueError, match="60 entries"):
        wire.encode(c, ((7, 8),))


# Golden files: what was once sent is read for ever


def golden() -> dict[str, Compressed]:
    """The messages in tests/fl_ef21/golden, one client each, written out."""
    t, b = torch.tensor, [True, False, True]

    def of(support: All | Indices | Seeded, values, count: int = 3, dim: int = 300) -> Compressed:
        return Compressed(dim, t([count]), support, values)

    far, key, many = Indices(t([0, 128, 299])), Seeded(t([0x0123456789ABCDEF])), torch.arange(600)
    close = Indices(torch.cat([torch.arange(15), t([39])]))
    bell = (1 + torch.special.ndtri((many + 0.5) / 600).abs() / 8).bfloat16()
    even = Indices(many * 2 + (many % 9 == 0))
    return {
        "golomb-float64": of(far, Floats(t([1.5, -0.1, 1e300], dtype=torch.float64))),
        "golomb-float32": of(far, Floats(t([1.5, -0.0, 3e38]))),
        "bitmap-bfloat16-golomb": of(close, Floats((1 + torch.arange(16) / 64).bfloat16()), count=16, dim=40),
        "classes-bfloat16-classes": of(even, Floats(bell), count=600, dim=1200),
        "layered-golomb-bfloat16": of(
            Indices(torch.cat([50 * row + torch.arange(3, 6) for row in range(40)] + [t([1999])])),
            Floats(torch.ones(121).bfloat16()),
            count=121,
            dim=2000,
        ),
        "seeded-float16": of(key, Floats(t([1.5, -2.0, 65504.0]).half())),
        "nothing-float32": of(Indices(t([], dtype=torch.int64)), Floats(t([])), count=0),
        "all-factors-float32": of(All(), Factors(t([[1.5, -2.0]]), Doubled(2)), count=4, dim=4),
        "golomb-signs32": of(far, Signs(t(b), t([0.25]))),
        "all-signs64": of(All(), Signs(t(b), t([0.1], dtype=torch.float64)), dim=3),
        "golomb-powers32": of(far, Powers(t(b), t([-3, 5, -128], dtype=torch.int8), 8 / 9, torch.float32)),
        "all-powers64": of(All(), Powers(t(b), t([127, 0, -127], dtype=torch.int8), 1.0, torch.float64), dim=3),
        "seeded-levels32": of(key, Levels(t([-7, 0, 7], dtype=torch.int16), t([0.5]), 7)),
        "all-levels64-buckets": of(
            All(), Levels(t([-1, 0, 1], dtype=torch.int16), t([[0.5, 0.1]], dtype=torch.float64), 1, 2), dim=3
        ),
        "all-levels32-classes": of(All(), Levels((many % 7 == 0).to(torch.int16), t([0.5]), 1), count=600, dim=600),
        "golomb-levels32-buckets": of(far, Levels(t([-3, 2, 1], dtype=torch.int16), t([[0.5, 2.0]]), 127, 2)),
    }


LAYERS = ((40, 50),)  # of the golden payloads that are made with some


def layers_of(name: str) -> wire.Layers:
    return LAYERS if name.startswith("layered") else ()


@pytest.mark.parametrize("name", golden())
def test_a_golden_payload_is_still_read(name):
    c = golden()[name]
    payload = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    decoded, refused = wire.decode([payload], replace(wire.Spec.of(c), layers=layers_of(name)))
    assert not refused
    assert same(decoded, c)


@pytest.mark.parametrize("name", golden())
def test_a_golden_payload_is_what_is_written_now(name):
    """May change with the encoder; what is read may not."""
    assert wire.encode(golden()[name], layers_of(name)) == [bytes.fromhex((GOLDEN / f"{name}.hex").read_text())]


def test_every_golden_file_is_tested():
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(golden())
