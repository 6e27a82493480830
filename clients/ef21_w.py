"""EF21-W, client half: clients count by their smoothness. Server half: strategies/ef21.py.

    c <- C(q / (n w) - g)          w = L_i / sum_j L_j, so that sum_i w_i q_i / (n w_i) = (1/n) sum_i q_i
    g <- g + c

With weights p_i of the problem that are not 1/n it is p_i / w_i in the place of 1 / (n w_i).
Step sizes may be 1 / (L + L_am sqrt(beta / theta)), with the mean of the L_i where EF21 has their root mean square.

Reference: Richtarik, Gasanov, Burlachenko. Error Feedback Reloaded: From Quadratic to Arithmetic Mean of Smoothness
Constants. ICLR 2024 (arXiv 2402.10774). The rule for stochastic gradients and sampling is recalled, unconfirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from clients.ef21 import MemoryState
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress


@dataclass(frozen=True)
class EF21W:
    """EF21 with weights by smoothness."""

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    weighs: ClassVar[Literal["smoothness"]] = "smoothness"

    def start(self, o: Oracle) -> MemoryState:
        return MemoryState(g=o.ratio * o.q)

    def step(self, s: MemoryState, o: Oracle, C: Compress) -> tuple[MemoryState, Compressed]:
        c = C(o.ratio * o.q - s.g)
        g = s.g + c
        return MemoryState(g), c
