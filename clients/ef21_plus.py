"""EF21+, client half. Server half: strategies/ef21.py.

    b <- C(q),  m <- g + C(q - g)
    g_new <- b where |q - b|^2 < |q - m|^2, else m         whichever is nearer to q
    c <- g_new - g
    g <- g + c

In the paper the server keeps every g_i, so that b replaces one at the price of a message of C. Our server keeps
their sum alone: c then also takes back what g held, its coordinates that are not zero, and all of them are counted.
The paper's C is deterministic, as TopK, and its q = grad f_i (batch_size = "full").

Reference: Richtarik, Sokolov, Fatkhullin. EF21: A New, Simpler, Theoretically Better, and Practically Faster Error
Feedback. NeurIPS 2021, EF21+.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from clients.ef21 import MemoryState
from fl_ef21.compressors import rows
from fl_ef21.messages import All, Compressed, Floats, Indices, whole
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class EF21Plus:
    """The better of EF21-SGD's message and the compressed gradient itself."""

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    message: ClassVar[str] = "sum"

    def start(self, q: Vector) -> MemoryState:
        return MemoryState(g=q)

    def step(self, s: MemoryState, q: Vector, C: Compress) -> tuple[MemoryState, Compressed]:
        plain, step = C(q), C(q - s.g)
        b, m = plain.dense(), s.g + step
        nearer = rows.sums((q - b).square()) < rows.sums((q - m).square())
        change = torch.where(nearer[:, None], b - s.g, step.dense())
        c = whole(change) if isinstance(step.support, All) else _not_zero(change)
        g = s.g + c
        return MemoryState(g), c


def _not_zero(u: Vector) -> Compressed:
    """The coordinates of u (n, d) that are not zero."""
    sent = u != 0
    return Compressed(u.shape[1], sent.sum(dim=1), Indices(sent.nonzero()[:, 1]), Floats(u[sent]))
