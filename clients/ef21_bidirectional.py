"""EF21 with both directions compressed, client halves: EF21-BC and EF21-P. Both need the method's `downlink`.

EF21-BC: a client's message is EF21's (clients/ef21.py). The server sends b, the compressed increment of its g; every
client holds the model and what it knows of g and makes the server's step itself, fl_ef21/shared_step.py.
Server half: strategies/ef21.py; the way down: strategies/ef21_bc.py.

EF21-P: a client's message is EF21-SGDM's. The server sends the compressed increment of the model. In its paper it goes
with several methods on the way up, and `downlink` does so here; this is EF21-SGDM under it by name.
Server half: strategies/ef21.py; the way down: strategies/ef21_p.py.

References: Fatkhullin, Sokolov, Gorbunov, Li, Richtarik. EF21 with Bells & Whistles. JMLR 2025 (arXiv 2110.03294).
Gruntkowska, Tyurin, Richtarik. EF21-P and Friends. ICML 2023 (arXiv 2209.15218).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import EF21SGD, EF21SGDM


@dataclass(frozen=True)
class EF21BC(EF21SGD):
    """EF21 whose clients make the server's step themselves."""

    steps: ClassVar[bool] = True
    key: ClassVar[str] = "downlink"


@dataclass(frozen=True)
class EF21P(EF21SGDM):
    """EF21-SGDM at the model that clients hold."""

    key: ClassVar[str] = "downlink"
