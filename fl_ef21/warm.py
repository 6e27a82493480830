"""Compiles the loops of the wire format once, so that a first run does not wait for them: python -m fl_ef21.warm"""

from __future__ import annotations

from dataclasses import replace

import torch

from fl_ef21 import wire
from fl_ef21.messages import Compressed, Floats, Indices, whole

LAYERS = ((40, 50),)


def warm() -> None:
    """Encodes, decodes and sums a few messages, which compiles whatever is not compiled yet."""
    index, values = torch.arange(300) * 2, torch.linspace(1, 2, 300)
    sparse = Compressed(2000, torch.tensor([300]), Indices(index), Floats(values.bfloat16()))
    both: list[tuple[Compressed, wire.Layers]] = [(sparse, LAYERS), (whole(values[None]), ())]
    for c, layers in both:
        payloads = wire.encode(c, layers)
        spec = replace(wire.Spec.of(c), layers=layers)
        wire.decode(payloads, spec)
        wire.total(payloads, spec, torch.ones(1, dtype=torch.float64))


if __name__ == "__main__":
    warm()
