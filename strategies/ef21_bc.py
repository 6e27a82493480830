"""EF21-BC, server half: both directions compress what changes. Client half: clients/ef21_bidirectional.py.

    g <- g + sum_i w_i c_i         so g = sum_i w_i g_i, always
    b <- C_M(g - h)                all that is sent down
    h <- h + b                     what every client knows of g
    x <- x - gamma h               which every client does itself: fl_ef21/shared_step.py

With b = g - h it is EF21. The sibling EF21-P compresses what x changes: strategies/ef21_p.py.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294),
Algorithm EF21-BC, where the clients' gradients are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    h: Vector  # (1, d), what every client knows of g that has heard everything


@dataclass(frozen=True)
class EF21BC:
    """Moves h towards g by what is sent. C must contract."""

    def start(self, zero: Vector) -> State:
        return State(h=zero)

    def step(self, s: State, g: Vector, C: Compress) -> tuple[State, Compressed]:
        """C returns what a receiver decodes, so that h is the receivers' h."""
        b = C(g - s.h)
        h = s.h + b
        return State(h), b
