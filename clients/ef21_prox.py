"""EF21-Prox, client half: EF21's, clients/ef21.py. Server half: strategies/ef21.py, then strategies/prox.py.

The name is for reading: what is proximal is the method's `prox`, which goes with any method.

Reference: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import EF21SGD


@dataclass(frozen=True)
class EF21Prox(EF21SGD):
    """EF21 for f + r."""

    key: ClassVar[str] = "prox"
