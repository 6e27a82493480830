"""EF21-HB, client half: EF21's, clients/ef21.py. Server half, where the momentum is: strategies/heavy_ball.py.

In its paper gradients are exact (`batch_size = "full"`); here they may be stochastic, as in EF21-SGD.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import EF21SGD


@dataclass(frozen=True)
class EF21HB(EF21SGD):
    """EF21 whose server steps by a heavy ball."""

    server: ClassVar[str] = "ef21-hb"
