"""EF21-Muon, client half: EF21-SGDM's, clients/ef21.py. Server half: strategies/muon.py.

    M <- (1 - eta) M + eta q       momentum (v in the code), q at the W that this client holds
    R <- C(M - G)                  the message
    G <- G + R

W is the server's X but for what `downlink` leaves out. Compressors that see layers: "layer-topk", "powersgd".

Reference: Gruntkowska, Gaponov, Tovmasyan, Richtarik. Error Feedback for Muon and Friends. 2025 (arXiv 2510.00643).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clients.ef21 import EF21SGDM


@dataclass(frozen=True)
class EF21Muon(EF21SGDM):
    """EF21-SGDM whose server steps to the extreme point of a ball in every layer."""

    server: ClassVar[str] = "ef21-muon"
