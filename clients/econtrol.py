"""EControl, client half. Server half: strategies/ef21.py.

    c <- C(eta e + q - g)          eta is how much of the old error is sent along
    e <- e + q - g - c             error: what the messages so far have left out
    g <- g + c                     the server's estimate of this client's gradient (the paper's h)

eta = 0 is EF21-SGD. The theory takes eta of the order of C's alpha: where alpha is small, the 0.1 that scenarios
have unless told is too much.

Reference: Gao, Islamov, Stich. EControl: Fast Distributed Optimization with Compression and Error Control. ICLR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    e: Vector  # error: the sum over rounds of q - g
    g: Vector  # the server's estimate of this client's gradient


@dataclass(frozen=True)
class EControl:
    """EF21-SGD with a part of the old error. Attributes: eta, that part, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True

    def start(self, q: Vector) -> State:
        return State(e=torch.zeros_like(q), g=q)

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        c = C(self.eta * s.e + q - s.g)
        e = s.e + q - s.g - c
        g = s.g + c
        return State(e, g), c
