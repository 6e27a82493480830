"""Payloads that are wrong: each is refused for its own reason, and changes nothing about the others."""

from __future__ import annotations

import struct
import tracemalloc
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.messages import All, Compressed, Factors, Floats, Indices, Levels, Powers
from fl_ef21.wire.values import FloatForm
from tests.payloads import FLOATS, KINDS, SUPPORTS, message, reason, sealed, spliced


@pytest.fixture
def sent() -> tuple[bytes, wire.Spec]:
    """12 of 100 coordinates in float64: 13 bytes of head, 96 of values, the gaps, 4 of checksum."""
    c = message("indices", "floats 0", 100, [12])
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
        (3, b"\x12", "kind"),  # bfloat16
        (3, b"\x20", "kind"),  # a subset
        (3, b"\xff", "kind"),
        (4, b"\x00", "codes"),  # no way to write indices
        (4, b"\x04", "codes"),
        (4, b"\x31", "codes"),
        (4, b"\x03", "length"),  # a bitmap, which is longer here
        (4, b"\x02", "length"),  # classes, whose table is not there
        (4, b"\x21", "length"),  # the values in classes
        (5, struct.pack("<I", 101), "dim"),
        (5, struct.pack("<I", 2**32 - 1), "dim"),
        (9, struct.pack("<I", 13), "count"),
        (9, struct.pack("<I", 2**32 - 1), "count"),
        (9, struct.pack("<I", 11), "indices"),  # what is left of the values is read as gaps
        (9, struct.pack("<I", 0), "length"),
    ],
)
def test_a_wrong_head_is_refused(sent, at, new, code):
    assert reason(spliced(sent[0], at, new), sent[1]) == code


def test_a_byte_less_or_more_is_refused(sent):
    payload, spec = sent
    assert reason(sealed(payload[:-5]), spec) == "indices"
    assert reason(sealed(payload[:-4] + b"\0"), spec) == "indices"
    assert reason(sealed(payload[:100]), spec) == "length"


@pytest.mark.parametrize("bit", range(13 * 8, 109 * 8, 7))
def test_a_flipped_bit_is_refused_by_the_checksum(sent, bit):
    damaged = bytearray(sent[0])
    damaged[bit // 8] ^= 1 << bit % 8
    assert reason(bytes(damaged), sent[1]) == "crc"


def with_support(dim: int, k: int, code: int, support: bytes) -> tuple[bytes, wire.Spec]:
    """k float64 zeros at the coordinates that these bytes say."""
    spec = wire.Spec(dim, k, Indices, FloatForm(torch.float64))
    return sealed(struct.pack("<2sBBBII", b"EF", 1, 0x10, code, dim, k) + bytes(8 * k) + support), spec


def string(bits: str) -> bytes:
    """A bit string from its first bit on; spaces mean nothing."""
    bits = bits.replace(" ", "")
    return int(bits[::-1] or "0", 2).to_bytes((len(bits) + 7) // 8, "little")


@pytest.mark.parametrize(
    ("bits", "fine"),
    [
        ("1 0  1 1  01 0", True),  # M = 2: gaps 0, 1, 2
        ("1 0  1 0  0001 1  0", True),  # 0, 0, 7: the last index is 9
        ("1 0  1 0  00001 0", False),  # the last index would be 10
        ("1 0  1 1  0000", False),  # no third number
        ("1 0  1 1  01 0 1", False),  # padding
        ("1 0  1 1  01 0 0 00000000", False),  # a byte left over
        ("0" * 64, False),
        ("0" * 640, False),
    ],
)
def test_gaps_are_k_numbers_below_d_and_nothing_else(bits, fine):
    payload, spec = with_support(10, 3, 1, string(bits))
    if fine:
        wire.check(payload, spec)
    else:
        assert reason(payload, spec) == "indices"


@pytest.mark.parametrize(
    ("bits", "code"),
    [
        ("1000010000 1", None),
        ("1000010000 0", "indices"),
        ("1111000001 1", "indices"),
        ("1000010000 0 1", "indices"),  # padding
        ("1000010", "length"),
        ("1000010000 1 00000 1", "length"),
    ],
)
def test_a_bitmap_has_k_ones_below_d(bits, code):
    payload, spec = with_support(11, 3, 3, string(bits))
    if code is None:
        wire.check(payload, spec)
    else:
        assert reason(payload, spec) == code


def in_classes(count: int = 300, dim: int = 600) -> tuple[bytes, wire.Spec]:
    """Evenly spread indices: the gaps are in classes, the values are float64."""
    c = Compressed(dim, torch.tensor([count]), Indices(torch.arange(count) * 2), Floats(torch.zeros(count).double()))
    payload = wire.encode(c)[0]
    assert payload[4] == 2
    return payload, wire.Spec.of(c)


@pytest.mark.parametrize(
    ("at", "new", "code"),
    [
        (0, b"\x13", "length"),  # R = 3
        (0, b"\x1c", "length"),  # R = 12
        (0, b"\xa8", "length"),  # m = 10
        (1, b"\x20", "length"),  # r = 32
        (1, b"\x1f", "indices"),  # numbers that overflow
        (2, b"\x08", "length"),  # b = R
        (3, b"\x80", "length"),  # a varint that runs on
        (4, b"\x00", "length"),  # no classes
        (4, b"\x01", "length"),  # counts that do not add up
        (-5, b"\x00", "indices"),  # no bit that marks the end
    ],
)
def test_a_wrong_table_is_refused(at, new, code):
    payload, spec = in_classes()
    begin = len(payload) + at if at < 0 else 13 + 8 * 300 + at
    assert reason(spliced(payload, begin, new), spec) == code


def test_codes_with_a_bit_too_few_or_too_many_are_refused():
    payload, spec = in_classes()
    for body in (payload[:-5] + payload[-4:], payload[:-4] + b"\1" + payload[-4:]):
        assert reason(sealed(body[:-4]), spec) in ("indices", "length")


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
    levels = 13 + 6 + 4  # four bits each: 10, 0, 9
    assert payload[levels:-4] == bytes([0x0A, 0x09])
    assert reason(spliced(payload, levels, bytes([0x0B, 0x09])), spec) == "values"
    assert reason(spliced(payload, levels, bytes([0x0A, 0x19])), spec) == "values"  # padding


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


def test_padding_of_the_signs_is_refused():
    c = message("all", "signs 1", 12, [12])
    payload, spec = wire.encode(c)[0], wire.Spec.of(c)
    last = 13 + 4 + 1
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
    for wrong in ({"dim": 0}, {"dim": 2**32}, {"most": 61}, {"most": -1}):
        with pytest.raises(ValueError):
            replace(spec, **wrong)


def test_a_stated_size_allocates_nothing_before_it_is_checked():
    spec = replace(wire.Spec.of(message("indices", "floats 1", 10, [1])), dim=2**32 - 1, most=2**32 - 1)
    tables = bytes([0x1B, 0, 10, 0, 2]) + string("0 1" + "1" * 10 + "1" + "1" + "0" * 9)  # R = 11: 2047 states and one
    lies = [
        sealed(struct.pack("<2sBBBII", b"EF", 1, 0x11, codes, 2**32 - 1, count) + body + bytes(20) + b"\1")
        for codes in (1, 2, 3, 0x11, 0x22)
        for count in (10**6, 2**31, 2**32 - 1)
        for body in (b"", tables, bytes([len(tables)]) + tables + tables)
    ]
    tracemalloc.start()
    _, refused = wire.decode(lies, spec)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(refused) == len(lies)
    assert {r.reason for r in refused.values()} == {"length"}
    assert peak < 100_000
