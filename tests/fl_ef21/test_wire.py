"""Payloads: exact both ways, read by a second decoder written from the document, trusted in nothing."""

from __future__ import annotations

import math
import random
import struct
import tracemalloc
from dataclasses import dataclass, replace
from pathlib import Path

import google_crc32c
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import (
    All,
    Compressed,
    Factors,
    Floats,
    Indices,
    Levels,
    Powers,
    Seeded,
    Signs,
)
from tests import slow_decoder

GOLDEN = Path(__file__).parent / "golden"
FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
SUPPORTS = ["all", "indices", "seeded"]
VALUES = [
    *(f"floats {i}" for i in range(4)),
    "signs 0",
    "signs 1",
    "powers 0",
    "powers 1",
    "levels 0",
    "levels 1",
]
KINDS = [(s, v) for s in SUPPORTS for v in VALUES]
KINDS += [("all", f"factors {i}") for i in range(4)]
KINDS += [("all", "buckets 1"), ("seeded", "buckets 0"), ("indices", "buckets 1")]


@dataclass(frozen=True)
class Doubled:
    """A layout: every number twice."""

    width: int

    def rebuild(self, flat: Tensor) -> Tensor:
        return (flat * 0.5).repeat(1, 2).to(torch.float64 if flat.dtype == torch.float64 else torch.float32)


def message(support: str, values: str, d: int, counts: list[int], seed: int = 0) -> Compressed:
    """Random messages of one kind; `counts` matter for indices, and their first for a subset."""
    rng = torch.Generator().manual_seed(seed)
    n = len(counts)
    counts = {"all": [d] * n, "indices": counts, "seeded": counts[:1] * n}[support]
    chosen: All | Indices | Seeded = All()
    if support == "indices":
        rows = [torch.randperm(d, generator=rng)[:k].sort().values for k in counts]
        chosen = Indices(torch.cat(rows))
    elif support == "seeded":
        chosen = Seeded(torch.randint(-(2**63), 2**63 - 1, (n,), generator=rng))
    return Compressed(d, torch.tensor(counts), chosen, some_values(values, d, counts, rng))


def some_values(values: str, d: int, counts: list[int], rng: torch.Generator):
    n, nnz = len(counts), sum(counts)
    name, i = values.split()
    dtype = FLOATS[int(i)]
    negative = torch.rand(nnz, generator=rng) < 0.5
    match name:
        case "floats":
            return Floats(torch.randn(nnz, generator=rng, dtype=torch.float64).to(dtype))
        case "factors":
            return Factors(torch.randn(n, d // 2, generator=rng).to(dtype), Doubled(d // 2))
        case "signs":
            return Signs(negative, torch.rand(n, generator=rng, dtype=dtype))
        case "powers":
            exponent = torch.randint(-128, 127, (nnz,), generator=rng).to(torch.int8)
            return Powers(negative, exponent, 8 / 9, dtype)
    most = int(torch.randint(1, 40, (), generator=rng)) * 800 + 5
    level = torch.randint(-most, most + 1, (nnz,), generator=rng).to(torch.int16)
    if name == "levels":
        return Levels(level, torch.rand(n, generator=rng, dtype=dtype), most)
    units = torch.rand(sum(-(-k // 3) for k in counts), generator=rng, dtype=dtype)
    return Levels(level, units.reshape(n, -1) if len(set(counts)) == 1 else units, most, bucket=3)


def bits(t: Tensor) -> Tensor:
    word = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[t.dtype.itemsize]
    return t.view(word)


def same(a: Compressed, b: Compressed) -> bool:
    """Bit for bit, the sign of a zero included."""
    if (a.dim, type(a.support), type(a.values)) != (b.dim, type(b.support), type(b.values)):
        return False
    pairs = [(a.counts, b.counts), (a.values.real(a.counts), b.values.real(b.counts)), (a.dense(), b.dense())]
    for part in ("support", "values"):
        mine, theirs = vars(getattr(a, part)), vars(getattr(b, part))
        for field in mine:
            if isinstance(mine[field], Tensor):
                pairs.append((mine[field], theirs[field]))
            elif mine[field] != theirs[field]:
                return False
    return all(x.dtype == y.dtype and x.shape == y.shape and torch.equal(bits(x), bits(y)) for x, y in pairs)


def sealed(body: bytes) -> bytes:
    return body + google_crc32c.value(body).to_bytes(4, "little")


def reason(payload: bytes, spec: wire.Spec) -> str:
    with pytest.raises(Refused) as refused:
        wire.check(payload, spec)
    return refused.value.reason


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


@pytest.mark.parametrize("name", golden())
def test_a_golden_payload_is_still_read(name):
    c = golden()[name]
    payload = bytes.fromhex((GOLDEN / f"{name}.hex").read_text())
    decoded, refused = wire.decode([payload], wire.Spec.of(c))
    assert not refused
    assert same(decoded, c)


@pytest.mark.parametrize("name", golden())
def test_a_golden_payload_is_what_is_written_now(name):
    """May change with the encoder; what is read may not."""
    assert wire.encode(golden()[name]) == [bytes.fromhex((GOLDEN / f"{name}.hex").read_text())]


def test_every_golden_file_is_tested():
    assert {path.stem for path in GOLDEN.glob("*.hex")} == set(golden())


# What is refused, and for which reason


def spliced(payload: bytes, at: int, new: bytes) -> bytes:
    """`payload` with `new` written at this offset, the checksum made right again."""
    body = bytearray(payload[:-4])
    body[at : at + len(new)] = new
    assert len(body) == len(payload) - 4
    return sealed(bytes(body))


@pytest.fixture
def sent() -> tuple[bytes, wire.Spec]:
    """12 of 100 coordinates, l = 3: 13 bytes of head, 5 low, 3 high, 12 float32, 4 of checksum."""
    c = message("indices", "floats 1", 100, [12])
    return wire.encode(c)[0], wire.Spec.of(c)


@pytest.mark.parametrize("length", [0, 1, 12, 16])
def test_too_short_is_refused(sent, length):
    assert reason(sent[0][:length], sent[1]) == "short"


@pytest.mark.parametrize(
    ("at", "new", "code"),
    [
        (0, b"EG", "magic"),
        (0, b"\0\0", "magic"),
        (2, b"\2", "version"),
        (3, b"\x11\x01", "flags"),
        (3, b"\x12", "kind"),  # bfloat16
        (3, b"\x31", "kind"),  # seeded
        (3, b"\x21", "kind"),  # a bitmap, which is longer here
        (3, b"\xff", "kind"),
        (5, struct.pack("<I", 101), "dim"),
        (5, struct.pack("<I", 2**32 - 1), "dim"),
        (9, struct.pack("<I", 13), "count"),
        (9, struct.pack("<I", 2**32 - 1), "count"),
        (9, struct.pack("<I", 11), "length"),
        (9, struct.pack("<I", 0), "length"),
    ],
)
def test_a_wrong_head_is_refused(sent, at, new, code):
    assert reason(spliced(sent[0], at, new), sent[1]) == code


def test_a_byte_less_or_more_is_refused(sent):
    payload, spec = sent
    assert reason(sealed(payload[:-5]), spec) == "length"
    assert reason(sealed(payload[:-4] + b"\0"), spec) == "length"


@pytest.mark.parametrize("bit", range(13 * 8, 73 * 8, 7))
def test_a_flipped_bit_is_refused_by_the_checksum(sent, bit):
    damaged = bytearray(sent[0])
    damaged[bit // 8] ^= 1 << bit % 8
    assert reason(bytes(damaged), sent[1]) == "crc"


def indices_sent(index: list[int], d: int) -> bytes:
    """A message of float32 ones at these indices, whose high parts must increase or stay; else unchecked."""
    k = len(index)
    l = (d // k).bit_length() - 1
    low = sum((i & ((1 << l) - 1)) << j * l for j, i in enumerate(index))
    high = sum(1 << (i >> l) + j for j, i in enumerate(index))
    head = struct.pack("<2sBBBII", b"EF", 1, 0x11, 0, d, k)
    sizes = (k * l + 7) // 8, (k + ((d - 1) >> l) + 7) // 8
    body = low.to_bytes(sizes[0], "little") + high.to_bytes(sizes[1], "little")
    return sealed(head + body + struct.pack("<f", 1.0) * k)


@pytest.mark.parametrize("index", [[3, 3, 9], [5, 4, 9], [0, 1, 100], [0, 50, 103]])
def test_indices_that_do_not_increase_or_lie_outside_are_refused(index):
    spec = wire.Spec(100, 3, Indices, wire.Spec.of(message("indices", "floats 1", 100, [3])).form)
    wire.check(indices_sent([3, 4, 99], 100), spec)
    assert reason(indices_sent(index, 100), spec) == "indices"


@pytest.mark.parametrize(
    ("at", "new"),
    [
        (13 + 4, b"\xff"),  # padding of the low bits
        (13 + 5, b"\0\0\0"),  # no ones
        (13 + 5, b"\xff\xff\xff"),  # too many
    ],
)
def test_a_wrong_bitmap_is_refused(sent, at, new):
    assert reason(spliced(sent[0], at, new), sent[1]) == "indices"


@pytest.mark.parametrize(
    ("d", "index", "at", "before", "after"),
    [
        (90, [*range(78, 90)], 13 + 3 + 4, 0x03, 0x05),  # Elias-Fano: 34 high bits in five bytes
        (11, [0, 1, 2, 3, 10], 13 + 1, 0x04, 0x08),  # a bitmap
    ],
)
def test_a_one_in_the_padding_of_a_bitmap_is_refused(d, index, at, before, after):
    k = len(index)
    c = Compressed(d, torch.tensor([k]), Indices(torch.tensor(index)), Floats(torch.ones(k)))
    payload = wire.encode(c)[0]
    assert payload[at] == before
    assert reason(spliced(payload, at, bytes([after])), wire.Spec.of(c)) == "indices"


@pytest.mark.parametrize(("values", "dtype"), [(f"floats {i}", FLOATS[i]) for i in range(4)])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_are_not_finite_are_refused(values, dtype, number):
    for support in SUPPORTS:
        c = message(support, values, 40, [7])
        flat = c.values.flat.clone()
        flat[3] = number
        bad = replace(c, values=Floats(flat))
        assert reason(wire.encode(bad)[0], wire.Spec.of(c)) == "values"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize("values", ["signs 0", "signs 1", "levels 0", "levels 1", "buckets 1"])
@pytest.mark.parametrize("count", [0, 7])
def test_a_scale_that_is_negative_or_not_finite_is_refused(values, number, count):
    support, d = ("all", count or 1) if values == "buckets 1" else ("indices", 40)
    c = message(support, values, d, [count])
    field = "scale" if "signs" in values else "unit"
    wrong = getattr(c.values, field).clone()
    wrong.view(-1)[-1] = number
    bad = replace(c, values=replace(c.values, **{field: wrong}))
    assert reason(wire.encode(bad)[0], wire.Spec.of(c)) == "values"


def test_a_level_beyond_the_most_is_refused():
    c = Compressed(3, torch.tensor([3]), All(), Levels(torch.tensor([5, 0, -5]).to(torch.int16), torch.ones(1), 5))
    payload, spec = wire.encode(c)[0], wire.Spec.of(c)
    levels = 13 + 6 + 4  # four bits each: 10, 5, 0
    assert payload[levels:-4] == bytes([0x5A, 0x00])
    wire.check(spliced(payload, levels, bytes([0x0A, 0x0A])), spec)
    assert reason(spliced(payload, levels, bytes([0x0B, 0x00])), spec) == "values"


def test_levels_and_powers_and_factors_that_overflow_are_refused_and_no_others():
    three = torch.tensor([3])
    for unit, level, fine in ((2e38, 1, True), (2e38, 2, False)):
        values = Levels(torch.tensor([0, 0, level]).to(torch.int16), torch.tensor([unit]), 5)
        c = Compressed(3, three, All(), values)
        assert (0 not in wire.decode(wire.encode(c), wire.Spec.of(c))[1]) == fine
    for exponent, fine in ((126, True), (127, False)):
        values = Powers(torch.zeros(3).bool(), torch.tensor([0, exponent, 1]).to(torch.int8), 3.0, torch.float32)
        c = Compressed(3, three, All(), values)
        assert (0 not in wire.decode(wire.encode(c), wire.Spec.of(c))[1]) == fine

    @dataclass(frozen=True)
    class Squared:
        width: int = 3

        def rebuild(self, flat: Tensor) -> Tensor:
            return flat * flat

    for factor, fine in ((1e19, True), (1e20, False), (float("inf"), False)):
        c = Compressed(3, three, All(), Factors(torch.tensor([[1.0, factor, 1.0]]), Squared()))
        assert (0 not in wire.decode(wire.encode(c), wire.Spec.of(c))[1]) == fine


@pytest.mark.parametrize("values", ["signs 1", "powers 1"])
def test_padding_of_the_signs_is_refused(values):
    c = message("all", values, 12, [12])
    payload, spec = wire.encode(c)[0], wire.Spec.of(c)
    last = 13 + (4 if values == "signs 1" else 8) + 1
    assert reason(spliced(payload, last, bytes([payload[last] | 0x10])), spec) == "values"


def test_other_parameters_than_the_known_ones_are_refused():
    powers, levels = message("all", "powers 1", 12, [12]), message("all", "levels 1", 12, [12])
    spec = wire.Spec.of(replace(powers, values=replace(powers.values, scale=1.0)))
    assert reason(wire.encode(powers)[0], spec) == "parameter"
    payload = wire.encode(levels)[0]
    assert reason(spliced(payload, 13, b"\1\0"), wire.Spec.of(levels)) == "parameter"
    assert reason(spliced(payload, 15, b"\1\0\0\0"), wire.Spec.of(levels)) == "parameter"


@pytest.mark.parametrize("support", ["all", "seeded"])
def test_fewer_entries_than_the_support_fixes_are_refused(support):
    c = message(support, "floats 1", 20, [5])
    spec, payload = wire.Spec.of(c), wire.encode(c)[0]
    assert reason(spliced(payload, 9, struct.pack("<I", 4)), spec) == "count"


@pytest.mark.parametrize(("support", "values"), KINDS)
def test_a_refused_row_is_zero_and_the_others_are_as_if_alone(support, values):
    c = message(support, values, 60, [9, 9, 9, 9, 9])
    payloads, spec = wire.encode(c), wire.Spec.of(c)
    payloads[1] = b"nonsense"
    payloads[3] = payloads[3][:-1] + bytes([payloads[3][-1] ^ 1])
    decoded, refused = wire.decode(payloads, spec)
    assert {row: r.reason for row, r in refused.items()} == {1: "short", 3: "crc"}
    dense = c.dense()
    dense[[1, 3]] = 0
    assert torch.equal(decoded.dense(), dense)
    weights = torch.ones(5, dtype=torch.float64)
    assert torch.equal(decoded.total(weights), c.total(weights * torch.tensor([1, 0, 1, 0, 1])))


def test_rows_that_only_their_body_condemns_are_zero_too():
    c = message("indices", "floats 1", 60, [9, 4, 9])
    flat = c.values.flat.clone()
    flat[10] = float("nan")
    decoded, refused = wire.decode(wire.encode(replace(c, values=Floats(flat))), wire.Spec.of(c))
    assert {row: r.reason for row, r in refused.items()} == {1: "values"}
    assert decoded.counts.tolist() == [9, 0, 9]
    assert torch.equal(decoded.dense()[[0, 2]], c.dense()[[0, 2]])


def test_a_receiver_may_allow_more_entries_than_its_example_has():
    example = wire.Spec.of(message("indices", "floats 1", 60, [1]))
    payload = wire.encode(message("indices", "floats 1", 60, [60]))[0]
    assert reason(payload, example) == "count"
    wire.check(payload, replace(example, most=60))


def test_a_spec_out_of_range_is_a_value_error():
    spec = wire.Spec.of(message("indices", "floats 1", 60, [1]))
    buckets = wire.Spec.of(message("all", "buckets 1", 60, [60]))
    for wrong in ({"dim": 0}, {"dim": 2**32}, {"most": 61}, {"most": -1}, {"form": buckets.form}):
        with pytest.raises(ValueError):
            replace(spec, **wrong)


def test_a_stated_size_allocates_nothing_before_it_is_checked():
    spec = replace(wire.Spec.of(message("indices", "floats 0", 10, [1])), dim=2**32 - 1, most=2**32 - 1)
    lies = [
        sealed(struct.pack("<2sBBBII", b"EF", 1, kind, 0, 2**32 - 1, count) + bytes(30))
        for kind in (0x10, 0x20)
        for count in (1, 10**6, 2**31, 2**32 - 1)
    ]
    tracemalloc.start()
    _, refused = wire.decode(lies, spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(refused) == len(lies)
    assert {r.reason for r in refused.values()} == {"kind", "length"}
    assert peak < 100_000


# Whatever the bytes


def sound(c: Compressed, spec: wire.Spec, refused: dict[int, Refused]) -> bool:
    """Whether every row is what `spec` allows, and zero where it was refused."""
    dense = c.dense()
    counts, index = c.counts, c.support.index(c.counts, c.dim)
    if index is not None:
        step = (index[1:] > index[:-1]) | (c.rows()[1:] != c.rows()[:-1])
        if not (bool(step.all()) and bool(((index >= 0) & (index < c.dim)).all())):
            return False
    within = bool(((counts >= 0) & (counts <= spec.most)).all())
    return within and bool(dense.isfinite().all()) and not bool(dense[list(refused)].any())


def mutated(payload: bytes, rng: random.Random) -> bytes:
    data = bytearray(payload)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        at = rng.randrange(len(data)) if rng.random() < 0.7 else rng.randrange(min(13, len(data)))
        match rng.randrange(6):
            case 0 | 1:
                data[at] ^= 1 << rng.randrange(8)
            case 2:
                data[at] = rng.randrange(256)
            case 3:
                extreme = struct.pack("<I", rng.choice([0, 1, 2**16, 2**31, 2**32 - 1]))
                data[9:13] = extreme if rng.random() < 0.5 else data[9:13]
                data[5:9] = extreme if rng.random() < 0.3 else data[5:9]
            case 4:
                data = data[:at] if rng.random() < 0.5 else data[: max(1, len(data) - rng.randrange(1, 9))]
            case 5:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize(("support", "values"), KINDS)
def test_mutated_payloads_are_refused_or_sound(support, values):
    """600 a kind, 21,600 in all; every second one has its checksum made right again."""
    rng = random.Random(repr((support, values)))
    c = message(support, values, 40, [9, 0, 30, 9, 2])
    spec, originals = wire.Spec.of(c), wire.encode(c)
    payloads = [mutated(rng.choice(originals), rng) for _ in range(600)]
    payloads[1::2] = [sealed(p[:-4]) for p in payloads[1::2]]
    decoded, refused = wire.decode(payloads, spec)
    assert sound(decoded, spec, refused)
    for row, payload in enumerate(payloads):
        if row % 2 == 0 and payload not in originals:
            assert row in refused
    assert len({r.reason for r in refused.values()}) >= 5


@settings(deadline=None)
@given(
    payloads=st.lists(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: sealed(b"EF\1" + b)), max_size=5),
    kind=st.sampled_from(KINDS),
)
def test_arbitrary_bytes_are_refused(payloads, kind):
    c = message(*kind, 40, [9])
    spec = wire.Spec.of(c)
    decoded, refused = wire.decode(payloads, spec)
    assert len(decoded) == len(payloads)
    assert sound(decoded, spec, refused)
