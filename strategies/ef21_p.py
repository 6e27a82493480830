"""EF21-P, the server's way to send the model. The clients' side: fl_ef21/broadcast.py.

    w <- w + C(x - w)          x is the model after a step; C(.) is all that is sent
                               clients hold w and differentiate there

What C leaves out stays in x - w and is sent later: error feedback for the model. It goes with every method and
optimizer, because it asks nothing of how x was stepped. EF21-BC is its sibling (strategies/ef21_bc.py): there the
server compresses the increment of g, every client holds g and x and makes the step x <- x - gamma g itself, which takes
a second vector on the client and plain SGD.

Reference: Gruntkowska, Tyurin, Richtarik. EF21-P and Friends: Improved Theoretical Communication Complexity for
Distributed Optimization with Bidirectional Compression. ICML 2023 (arXiv 2209.15218).
"""

from __future__ import annotations

from dataclasses import dataclass

from fl_ef21.messages import Compressed
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    w: Vector  # (1, d), what every client has that has heard everything


@dataclass(frozen=True)
class EF21P:
    """Moves w towards x by what is sent. C must contract."""

    def start(self, x: Vector) -> State:
        return State(w=x)

    def step(self, s: State, x: Vector, C: Compress) -> tuple[State, Compressed]:
        """C returns what a receiver decodes, so that w is the receivers' w."""
        c = C(x - s.w)
        w = s.w + c
        return State(w), c
