"""EF21-BC's step as every client makes it: the server's numbers again, and nothing of what cannot be."""

from __future__ import annotations

import itertools
import struct

import pytest
import torch

from fl_ef21 import shared_step, wire
from fl_ef21.broadcast import spec_of
from fl_ef21.compressors.topk import TopK
from fl_ef21.errors import Refused
from fl_ef21.types import Compressor
from strategies.ef21_bc import EF21BC

D, KEY = 9, torch.zeros(1, dtype=torch.int64)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def walk(C: Compressor, dtype: torch.dtype, steps: int) -> tuple[list[torch.Tensor], list[bytes]]:
    """What a server and its clients hold after each step, x then h, and the payloads."""
    rng, spec = torch.Generator().manual_seed(4), spec_of(C, D, dtype)
    x, s = torch.randn(D, generator=rng, dtype=dtype), EF21BC().start(torch.zeros(1, D, dtype=dtype))
    held, payloads = [torch.cat([x, s.h[0]])], list[bytes]()
    for t in range(steps):
        g = torch.randn(1, D, generator=rng, dtype=dtype)
        s, b = EF21BC().step(s, g, lambda u: wire.decode(wire.encode(C(u, KEY)), spec)[0])
        payloads.append(shared_step.pack(0.3 / (1 + t), wire.encode(b)[0]))
        x = shared_step.stepped(x, s.h[0], 0.3 / (1 + t))
        held.append(torch.cat([x, s.h[0]]))
    return held, payloads


@DTYPES
@pytest.mark.parametrize("C", [TopK(3), TopK(D)], ids=repr)
def test_a_client_comes_to_the_servers_bits_from_any_version(C: Compressor, dtype: torch.dtype) -> None:
    held, payloads = walk(C, dtype, 7)
    for start in range(8):
        there = shared_step.advanced(held[start], payloads[start:], spec_of(C, D, dtype))
        assert torch.equal(there, held[-1])


def test_steps_are_the_papers_in_float64() -> None:
    held, _ = walk(TopK(3), torch.float64, 7)
    for t, (before, after) in enumerate(itertools.pairwise(held)):
        (x, _), (y, h) = before.chunk(2), after.chunk(2)
        assert torch.allclose(y, x - 0.3 / (1 + t) * h, rtol=0, atol=1e-15) and not torch.equal(x, y)


def test_what_was_held_is_left_alone() -> None:
    held, payloads = walk(TopK(3), torch.float64, 1)
    before = held[0].clone()
    after = shared_step.advanced(held[0], payloads, spec_of(TopK(3), D, torch.float64))
    assert torch.equal(held[0], before) and not torch.equal(after, before)
    assert shared_step.advanced(held[0], [], spec_of(TopK(3), D, torch.float64)) is held[0]


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_step_size_that_is_none_is_refused(gamma: float) -> None:
    held, (payload,) = walk(TopK(3), torch.float64, 1)
    with pytest.raises(Refused, match="step size"):
        shared_step.advanced(held[0], [struct.pack("<d", gamma) + payload[8:]], spec_of(TopK(3), D, torch.float64))


@pytest.mark.parametrize("length", [0, 7, 8, 9])
def test_a_payload_that_is_too_short_is_refused(length: int) -> None:
    held, (payload,) = walk(TopK(3), torch.float64, 1)
    with pytest.raises(Refused):
        shared_step.advanced(held[0], [payload[:length]], spec_of(TopK(3), D, torch.float64))
