"""EF21-BC: what every client holds, the model and what it knows of g, and the step that it makes itself.

    h <- h + b
    x <- x - gamma h       in two roundings, so that whoever makes the step has the same bits

A payload is gamma in eight bytes and b's. Who holds nothing is sent both vectors, one after the other, or x alone
before the first step.
The rule by which the server chooses b: strategies/ef21_bc.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed
from fl_ef21.threads import computing_with

GAMMA = struct.Struct("<d")


def stepped(x: Tensor, h: Tensor, gamma: float) -> Tensor:
    """x - gamma h."""
    return x - gamma * h


def both(x: Tensor, dim: int) -> Tensor:
    """(2d,), x and h, of what was sent as the model: x alone is that before the first step, where h is zero."""
    return torch.cat([x, torch.zeros_like(x)]) if x.shape == (dim,) else x


def pack(gamma: float, b: bytes) -> bytes:
    """A payload."""
    return GAMMA.pack(gamma) + b


def advanced(held: Tensor, payloads: Sequence[bytes], spec: wire.Spec) -> Tensor:
    """held (2d,), x and then h, after these steps; a new tensor if there are any.

    Raises: Refused where a payload cannot be decoded, or its step size is none.
    """
    x, h = held.chunk(2)
    with computing_with(1):  # whoever adds: the last bit of a low-rank product may depend on the threads
        for payload in payloads:
            gamma, b = _unpack(payload, spec)
            h = (h[None] + b)[0]
            x = stepped(x, h, gamma)
    return torch.cat([x, h]) if payloads else held


def _unpack(payload: bytes, spec: wire.Spec) -> tuple[float, Compressed]:
    if len(payload) < GAMMA.size:
        raise Refused("model", f"of {len(payload)} bytes, shorter than a step size")
    gamma = float(GAMMA.unpack_from(payload)[0])
    if not 0 < gamma < float("inf"):
        raise Refused("model", f"the step size must be a number > 0, got {gamma}")
    b, refused = wire.decode([payload[GAMMA.size :]], spec)
    for why in refused.values():
        raise why
    return gamma, b
