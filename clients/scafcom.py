"""SCAFCOM, SCALLION and SCAFFOLD, client halves. Server half: strategies/scafcom.py.

    y <- y - r (q(y) - g + g_server)       K local steps from x, steered by what the server believes
    q <- mean of q(y)                      = (x - y_K) / (r K) + g - g_server
    SCAFFOLD    c <- q - g
    SCALLION    c <- C(eta (q - g))                              C unbiased; eta is the paper's alpha
    SCAFCOM     v <- (1 - eta) v + eta q,    c <- C(v - g)       C contractive; eta is the paper's beta
    g <- g + c                             the control variate c_i of the papers

With K = 1 and everybody SCAFCOM is EF21-SGDM. SCAFFOLD is SCAFCOM without compression and with eta = 1: its two
uploads, of the model's change and of the control variate's, are one vector, as -r K (c + g_server) is the other.

References: Huang, Li, Li. Stochastic Controlled Averaging for Federated Learning with Communication Compression. ICLR
2024 (arXiv 2308.08165), Algorithms 1 and 2. Karimireddy, Kale, Mohri, Reddi, Stich, Suresh. SCAFFOLD: Stochastic
Controlled Averaging for Federated Learning. ICML 2020, Algorithm 1 with option II.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.facts import Hears, Needs
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    g: Vector  # c_i of the papers: what the server believes of this client's gradient


@dataclass(frozen=True)
class SCAFFOLD:
    """Local steps with control variates, uncompressed."""

    server: ClassVar[str] = "scafcom"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    hears: ClassVar[Hears] = "g"
    needs: ClassVar[Needs] = "identity"

    def start(self, o: Oracle) -> State:
        return State(g=o.q)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        q = o.along(shift=o.heard - s.g)
        c = C(q - s.g)
        return State(s.g + c), c


@dataclass(frozen=True)
class SCALLION:
    """SCAFFOLD with unbiased compression. Attributes: eta, share of the difference that is sent, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "scafcom"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    hears: ClassVar[Hears] = "g"
    needs: ClassVar[Needs] = "unbiased"

    def __post_init__(self) -> None:
        """Raises: InputError for eta outside (0, 1]."""
        check_eta(self.eta)

    def start(self, o: Oracle) -> State:
        return State(g=o.q)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        q = o.along(shift=o.heard - s.g)
        c = C(self.eta * (q - s.g))
        return State(s.g + c), c


@dataclass(frozen=True)
class MomentumState:
    v: Vector  # momentum
    g: Vector  # c_i of the papers: what the server believes of this client's gradient


@dataclass(frozen=True)
class SCAFCOM:
    """SCAFFOLD with contractive compression. Attributes: eta, weight of the new gradient, in (0, 1]."""

    eta: float

    server: ClassVar[str] = "scafcom"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    hears: ClassVar[Hears] = "g"
    needs: ClassVar[Needs] = "contractive"

    def __post_init__(self) -> None:
        """Raises: InputError for eta outside (0, 1]."""
        check_eta(self.eta)

    def start(self, o: Oracle) -> MomentumState:
        return MomentumState(v=o.q, g=o.q)

    def step(self, s: MomentumState, o: Oracle, C: Compress) -> tuple[MomentumState, Compressed]:
        v = (1 - self.eta) * s.v + self.eta * o.along(shift=o.heard - s.g)
        c = C(v - s.g)
        return MomentumState(v, s.g + c), c


def check_eta(eta: float) -> None:
    """Raises: InputError for eta outside (0, 1]."""
    if not 0 < eta <= 1:
        raise InputError("eta", eta, "must lie in (0, 1]")
