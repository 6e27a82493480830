"""EF21-PP, client half. Server half: strategies/ef21.py.

    c <- C(grad f_i(x) - g)        over all samples; only clients that are asked, the others send c = 0
    g <- g + c

With everybody asked it is EF21.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles: Practical Algorithmic Extensions
of Modern Error Feedback, the partial participation variant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import MemoryState
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress


@dataclass(frozen=True)
class EF21PP:
    """EF21 on the gradients of whole clients, some of them asked a round."""

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    local: ClassVar[bool] = False
    gradients: ClassVar[float] = 0.0
    passes: ClassVar[float] = 1.0

    def start(self, o: Oracle) -> MemoryState:
        return MemoryState(g=o.exact(o.x))

    def step(self, s: MemoryState, o: Oracle, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(o.exact(o.x) - s.g)
        g = s.g + c
        return MemoryState(g), c
