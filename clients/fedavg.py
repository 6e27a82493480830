"""FedAvg and FedProx, client halves. Server half: strategies/mean.py.

    y <- y - r (q(y) + mu (y - x))         K local steps from x; mu = 0 in FedAvg
    c <- (x - y_K) / (r K)                 where they led, in gradients

The server's x - gamma sum_i w_i c_i is the mean of the clients' models where gamma = r K; another gamma is FedAvg with
a server step size. With K = 1 both are distributed SGD.

References: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks from
Decentralized Data. AISTATS 2017. Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous
Networks. MLSys 2020, with K steps of SGD as the inexact solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.facts import Needs
from fl_ef21.messages import Compressed
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    """Nothing is remembered."""


@dataclass(frozen=True)
class FedAvg:
    """The mean of what local steps lead to."""

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False
    needs: ClassVar[Needs] = "identity"

    def start(self, q: Vector) -> State:
        return State()

    def step(self, s: State, q: Vector, C: Compress) -> tuple[State, Compressed]:
        return s, C(q)


@dataclass(frozen=True)
class FedProx:
    """FedAvg held back to x. Attributes: mu, how strongly, >= 0."""

    mu: float = 0.01

    server: ClassVar[str] = "mean"
    dense_start: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    needs: ClassVar[Needs] = "identity"

    def __post_init__(self) -> None:
        """Raises: InputError for mu < 0."""
        if not self.mu >= 0:
            raise InputError("mu", self.mu, "must be >= 0")

    def start(self, o: Oracle) -> State:
        return State()

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        return s, C(o.moved(mu=self.mu))
