"""Compression without feedback, which diverges with biased compressors. Server half: strategies/mean.py.

    c <- C(q)

Reference: the counterexample of Beznosikov, Horvath, Richtarik, Safaryan. On Biased Compression for
Distributed Learning. JMLR 2023, Example 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    """Nothing is remembered."""


@dataclass(frozen=True)
class CompressedSGD:
    """SGD on compressed gradients, nothing fed back."""

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False

    def start(self, q: Vector) -> State:
        return State()

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        return s, C(q)
