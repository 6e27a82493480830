"""A short campaign, and that a long one would find what is wrong. The long one: `make fuzz`."""

from __future__ import annotations

import os
import signal
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import Floats, Indices
from fl_ef21.threads import computing_with
from tests.fuzz import campaign, replay
from tests.fuzz.campaign import Found
from tests.fuzz.mutations import CRC, HEAD, MUTATIONS, mutated, sealed
from tests.fuzz.seeds import sorts
from tests.fuzz.soundness import measured, unequal, unsound

SORT = next(sort for sort in sorts() if sort.name == "indices, floats float32, logistic")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with computing_with(1):
        yield


def test_mutated_payloads_are_refused_or_sound_and_allocate_little() -> None:
    tally = campaign.campaign(24_000)
    assert tally.mutations == 24_000
    assert 11_000 < tally.repaired < 13_000
    assert tally.accepted > 240  # the checksum alone would stop nobody
    assert len(tally.reasons) >= 8


def test_every_sort_is_read_as_it_was_written() -> None:
    for sort in sorts():
        c, refused = wire.decode(sort.payloads, sort.spec)
        assert not refused, sort.name
        assert unsound(c, sort.spec, refused, len(sort.payloads)) is None
        assert unequal(c, sort.spec, range(len(sort.payloads))) is None


@pytest.mark.parametrize("mutation", sorted(set(MUTATIONS), key=lambda m: m.__name__), ids=lambda m: m.__name__)
def test_every_mutation_changes_payloads_of_any_length(mutation) -> None:
    rng, changed = Random(mutation.__name__), 0
    for length in (0, 1, 2, 7, HEAD, 200):
        payload = rng.randbytes(length)
        for _ in range(20):
            data = bytearray(payload)
            mutation(data, [rng.randbytes(150), b""], rng)
            changed += bytes(data) != payload
    assert changed > 50


def test_a_mended_payload_ends_in_its_own_checksum_and_the_same_seed_gives_the_same() -> None:
    for seed in range(50):
        mended = mutated(SORT.payloads[0], SORT.payloads, Random(seed), True)
        assert mended == sealed(mended[:-CRC])
        assert mended == mutated(SORT.payloads[0], SORT.payloads, Random(seed), True)


def test_memory_of_torch_and_of_numpy_is_measured() -> None:
    tracemalloc.start()
    try:
        assert measured(lambda: None)[1] < 2_000_000
        for size in (bytearray, lambda n: torch.ones(n, dtype=torch.uint8)):
            assert measured(lambda size=size: size(80_000_000)[0])[1] > 70_000_000
    finally:
        tracemalloc.stop()


# That a fault is found: decoders with one each, in place of ours


def spoilt(monkeypatch: pytest.MonkeyPatch, fault) -> str:
    """What a campaign finds where the decoder's answer goes through `fault`."""
    decode = wire.decode
    monkeypatch.setattr(campaign.wire, "decode", lambda payloads, spec: fault(payloads, *decode(payloads, spec)))
    with pytest.raises(Found) as found:
        campaign.campaign(2_000)
    return str(found.value)


def test_a_decoder_that_raises_is_found_with_its_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(payloads, c, refused):
        for row, payload in enumerate(payloads):
            if row in refused and len(payload) % 7 == 3:
                raise IndexError("past the end")
        return c, refused

    found = spoilt(monkeypatch, fault)
    assert "IndexError: past the end" in found
    assert len(bytes.fromhex(found.rpartition("payload: ")[2])) % 7 == 3


def test_a_decoder_that_allocates_what_it_is_told_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(payloads, c, refused):
        if any(r.reason == "count" for r in refused.values()):
            bytearray(11_000_000)
        return c, refused

    assert "MB are held at once" in spoilt(monkeypatch, fault)


def test_a_decoder_that_looks_at_no_checksum_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(payloads, c, refused):
        return c, {row: r for row, r in refused.items() if r.reason != "crc"}

    found = spoilt(monkeypatch, fault)
    assert "a wrong checksum is accepted" in found or "total refuses {0: Refused('crc')}, decode {}" in found


def test_a_decoder_whose_values_are_not_finite_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(payloads, c, refused):
        if isinstance(c.values, Floats) and len(c.values.flat):
            flat = c.values.flat.clone()
            flat[-1] = float("nan")
            c = replace(c, values=Floats(flat))
        return c, refused

    assert "not finite" in spoilt(monkeypatch, fault)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: replace(c, counts=c.counts - 40), "counts"),
        (lambda c: replace(c, dim=c.dim + 1), "dim"),
        (lambda c: replace(c, support=Indices(c.support.flat.flip(0))), "increase"),
        (lambda c: replace(c, support=Indices(c.support.flat + 7850)), "range"),
        (lambda c: replace(c, values=Floats(c.values.flat[1:])), "values"),
    ],
)
def test_messages_that_are_not_sound_are_told_apart(change, found: str) -> None:
    c, _ = wire.decode(SORT.payloads, SORT.spec)
    assert found in unsound(change(c), SORT.spec, {}, len(SORT.payloads))


def test_a_refused_row_must_be_zero() -> None:
    c, _ = wire.decode(SORT.payloads, SORT.spec)
    assert "refused row" in unsound(c, SORT.spec, {1: Refused("crc")}, len(SORT.payloads))


def test_a_sum_that_is_not_that_of_what_is_decoded_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def total(payloads, spec, weights):
        c, refused = wire.decode(payloads, spec)
        return c.total(weights) + 1e-3, refused

    monkeypatch.setattr(campaign.wire, "total", total, raising=False)
    with pytest.raises(Found, match="total differs"):
        campaign.campaign(2_000)


def test_the_payload_that_kills_the_process_is_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    last, decode = tmp_path / "last.txt", wire.decode
    campaign.campaign(300, last=last)
    name, *payloads = last.read_text().splitlines()
    assert name in {sort.name for sort in sorts()} and len(payloads) > 3
    last.write_text("\n".join([name, *payloads[:4]]))
    deadly = bytes.fromhex(payloads[2])

    def dies(given, spec):
        if deadly in given:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(given, spec)

    monkeypatch.setattr(campaign.wire, "decode", dies)
    found = list(replay.replay(last))
    assert found and all(text.endswith(payloads[2]) and "signal 9" in text for text in found)
