"""What `benchmarks.codec` counts is what it says it counts. Nothing is timed here."""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import codec, codec_messages, codec_rivals, codec_speed
from benchmarks.codec_messages import images, many, real, uniform
from benchmarks.codec_rivals import gaps, planes, raw_indices, raw_numbers, rivals, varint
from benchmarks.codec_sides import as_numpy, measure, ours, rounded
from benchmarks.codec_sizes import support_bits, tail_bits, upper, value_bias, value_bits
from benchmarks.codec_speed import decode_and_sum, timed
from benchmarks.codec_targets import geometric, target, targets
from fl_ef21 import wire

BESIDE, _ = rivals()


# Bounds


@pytest.mark.parametrize(("d", "k"), [(5, 0), (5, 5), (12, 4), (20, 10)])
def test_the_bound_of_a_support_is_the_logarithm_of_how_many_there_are(d: int, k: int) -> None:
    assert support_bits(d, k) == pytest.approx(math.log2(sum(1 for _ in combinations(range(d), k))), abs=1e-9)
    assert support_bits(10**7, 10**5) == pytest.approx(math.log2(math.comb(10**7, 10**5)), rel=1e-9)
    with pytest.raises(ValueError, match=r"0 \.\. 5"):
        support_bits(5, 6)


def test_the_entropy_of_values_counts_the_upper_half_and_takes_the_rest_raw() -> None:
    four = np.repeat(np.array([1.0, -1.0, 2.0, 0.5], dtype=np.float32), 25)
    assert value_bits(four) == pytest.approx(2 + 16)
    assert value_bits(upper(four)[0]) == pytest.approx(2)
    assert value_bits(four[:25]) == 16
    assert value_bits(four[:0]) == value_bias(four[:0]) == 0
    with pytest.raises(ValueError, match="float64"):
        value_bits(four.astype(np.float64))


@pytest.mark.parametrize(("d", "k"), [(7850, 78), (10**6, 10**5)])
def test_the_entropy_of_the_law_is_what_many_samples_have(d: int, k: int) -> None:
    c = many(d, k, clients=-(-400_000 // k)).c
    for dtype in ("float32", "bfloat16"):
        x = as_numpy(rounded(c, dtype).values.flat)
        law = tail_bits(math.log(d / k), dtype == "bfloat16")
        assert value_bits(x) == pytest.approx(law, abs=0.01)


def test_the_plug_in_estimate_is_too_low_by_about_its_bias() -> None:
    x, law = as_numpy(rounded(uniform(10**5, 5000).c, "bfloat16").values.flat)[:1000], tail_bits(math.log(20), True)
    assert 0.05 < law - value_bits(x) < 0.4
    assert abs(law - value_bits(x) - value_bias(x)) < 0.15


# Messages


@pytest.mark.parametrize("make", [uniform, many])
def test_supports_are_sorted_without_repetition_and_spread_evenly(make: Any) -> None:
    message = make(1000, 100, 50)
    index = message.c.support.flat.reshape(50, 100)
    assert bool((index[:, 1:] > index[:, :-1]).all()) and int(index.min()) >= 0 and int(index.max()) < 1000
    assert 450 < float(index.double().mean()) < 550
    assert float(message.c.values.flat.abs().min()) >= math.log(10)


@pytest.mark.parametrize("live", [False, True])
def test_real_messages_come_from_images_with_and_without_dead_inputs(live: bool) -> None:
    data = images(None, live)
    assert data.shape == (1, 28, 28)
    dead = int((data.features.std(axis=0) == 0).sum())
    assert dead == 0 if live else 28 * 28 - 20 * 20 <= dead < 400
    small, middle, large = real(data, "logreg", rounds=3)
    assert (small.k, middle.k, large.k) == (8, 78, 785) and large.c.dim == 7850
    assert bool((large.c.values.flat != 0).all()) and sum(math.prod(shape) for _, shape in large.shapes) == 7850


def test_the_large_network_has_the_parameters_it_says() -> None:
    assert sum(p.numel() for p in codec_messages.Network().parameters()) == 1_663_370


# Rivals


def test_gaps_and_varints_and_raw_sizes_are_as_by_hand() -> None:
    index = np.array([0, 1, 130, 300, 20_000])
    assert gaps(index).tolist() == [0, 0, 128, 169, 19_699] and gaps(index).dtype == np.uint16
    assert varint(index, 10**5) == 1 + 1 + 2 + 2 + 3
    assert raw_indices(index, 10**5) == raw_numbers(np.zeros(5, np.float32)) == 20
    assert planes(np.array([0x0102, 0x0304], dtype=np.uint16)) == bytes([2, 4, 1, 3])


def test_pcodec_gives_back_what_it_took() -> None:
    pytest.importorskip("pcodec")
    for x in (np.arange(300, dtype=np.uint16), np.ones(20, np.uint8), np.float32([1, -0.0])):
        assert codec_rivals.unpcodec(codec_rivals.pcodec(x), len(x), x.dtype).tobytes() == x.tobytes()


def test_a_rival_that_is_not_installed_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pcodec", None)
    found, absent = rivals()
    assert "pcodec" in absent and "bench" in absent["pcodec"] and {"raw", "varint"} <= set(found)
    assert "pcodec" not in measure(uniform(100, 5), found)["index_bytes"]


# Rows


def test_index_value_and_framing_bytes_add_up_to_the_payload() -> None:
    message = uniform(7850, 78, clients=6)
    row, mine = measure(message, BESIDE), ours(message.c)
    assert row["index_bytes"]["ours"] == mine.index and 0 < row["framing"] == mine.framing < 40
    for dtype, got in row["values"].items():
        payloads = wire.encode(rounded(message.c, dtype))
        whole = sum(map(len, payloads)) / 6
        assert got["bytes"]["ours"] == whole
        assert mine.index + mine.framing + got["value_bytes"]["ours"] == pytest.approx(whole)
        assert got["bytes"]["raw"] == 78 * (8 if dtype == "float32" else 6)
        assert got["bytes"]["bound"] < whole < got["bytes"]["raw"]
    assert 0.98 < mine.index / row["index_bytes"]["bound"] < 1.2


def test_what_is_timed_sums_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    c = rounded(many(500, 20, 7).c, "bfloat16")
    weights = torch.rand(7, dtype=torch.float64)
    got = decode_and_sum(wire.encode(c), wire.Spec.of(c), weights)
    assert torch.allclose(got, c.total(weights), rtol=1e-12)
    broken = [payload[:-1] for payload in wire.encode(c)]
    with pytest.raises(RuntimeError, match="refused"):
        decode_and_sum(broken, wire.Spec.of(c), weights)
    if "pcodec" in BESIDE:
        alone = codec_speed.Alone(c)
        alone.encode()
        assert np.allclose(alone.sum(), c.total(torch.ones(7, dtype=torch.float64)).numpy())
    row = timed(many(500, 20, 7), True, 1, "pcodec" in BESIDE)
    assert row["entries"] == 140 and set(row["encode_s"]) == set(row["decode_s"]) >= {"ours", "memcpy"}


def test_targets_take_the_worst_and_the_mean_and_say_what_was_not_measured() -> None:
    assert target("a", 1.0, [0.5, 1.5])["reached"] == 1.5 and not target("a", 1.0, [0.5, 1.5])["met"]
    assert target("a", 60.0, [70.0, 80.0], min) == {
        "what": "a",
        "limit": 60.0,
        "least": True,
        "reached": 70.0,
        "met": True,
    }
    assert target("a", 1.0, [0.5, 2.0], geometric)["reached"] == pytest.approx(1)
    assert target("a", 1.0, []) == {"what": "a", "limit": 1.0, "least": False, "reached": None, "met": None}
    assert all(line["met"] is None for line in targets([], [], []))


# The command


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "uniform_messages", lambda quick: [uniform(200, 20, 3), uniform(9000, 1000, 2)])
    monkeypatch.setattr(
        codec, "real_messages", lambda mnist, live, quick: (("few", m) for m in real(images(mnist, live), "logreg", 2))
    )
    monkeypatch.setattr(codec_speed, "LARGE", [(2000, 100)])
    monkeypatch.setattr(codec_speed, "ROUND", (300, 10, 5))


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_one_object_with_every_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["codec", "--quick", "--json"])
    codec.main()
    got = json.loads(capsys.readouterr().out)
    assert set(got) == {"environment", "absent", "uniform", "real", "speed", "targets"}
    assert [row["name"] for row in got["uniform"]] == ["uniform 200 20", "uniform 9,000 1,000"]
    assert [(row["live"], row["k"]) for row in got["real"]] == [
        (live, k) for live in (False, True) for k in (8, 78, 785)
    ]
    assert {"bound", "ours", *BESIDE} == set(got["uniform"][0]["index_bytes"])
    assert [row["summed"] for row in got["speed"]] == [False, True]
    assert sum(line["met"] is not None for line in got["targets"]) >= 6


@pytest.mark.usefixtures("tiny")
def test_the_command_prints_tables_and_each_target_beside_what_was_reached(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["codec", "--only", "sizes"])
    codec.main()
    said = capsys.readouterr().out
    assert "bits per index (x log2 C(d, k))" in said and "| uniform 9,000 1,000" in said
    assert "at most 1.015" in said and "not measured" in said and "M/s" not in said
