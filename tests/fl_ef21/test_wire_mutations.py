"""Whatever the bytes: a payload is refused or sound."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed
from tests.payloads import KINDS, message, sealed


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
