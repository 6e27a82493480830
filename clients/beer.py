"""BEER with a server, client half. Server half: strategies/ef21.py.

    v <- v + mix (gbar - g) + q - q_old     gradient tracking; gbar = sum_i w_i g_i is sent along with the model
    c <- C(v - g)
    g <- g + c

BEER is decentralised: every node mixes what its neighbours said. Here the server is everybody's neighbour, the
mixing matrix is 11'/n, and as all share one exact model, the mixing of models and its messages fall away. The v_i
then meet at the mean gradient, so that v - g, which is compressed, goes to zero for clients that differ too. mix = 0
is EF21-SGD. The v_i add up to the gradients only while every client answers in every round.

Reference: Zhao, Li, Li, Richtarik, Chi. BEER: Fast O(1/T) Rate for Decentralized Nonconvex Optimization with
Communication Compression. NeurIPS 2022, and the authors' code, whose default is mix = 0.1. The form with a server is
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    v: Vector  # this client's estimate of grad f
    g: Vector  # the server's estimate of v
    q: Vector  # the last gradient


@dataclass(frozen=True)
class BEER:
    """Gradient tracking through a server. Attributes: mix, how far v moves towards the others' a round, in [0, 1]."""

    mix: float = 0.1

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    hears: ClassVar[str] = "g"

    def __post_init__(self) -> None:
        if not 0 <= self.mix <= 1:
            raise InputError("mix", self.mix, "must lie in [0, 1]")

    def start(self, o: Oracle) -> State:
        return State(v=o.q, g=o.q, q=o.q)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        v = s.v + self.mix * (o.heard - s.g) + o.q - s.q
        c = C(v - s.g)
        g = s.g + c
        return State(v, g, o.q), c
