"""MARINA, client half. Server half: strategies/ef21.py.

    with probability p, the same coin for all:   g <- grad f_i(x)                 sent whole
    else:                                        g <- g + C(q(x) - q(x_before))   one sample at both points; C unbiased

The message is what g changes by in either case, so the server adds it up like any other. The paper's server is sent
grad f_i(x) itself and its clients need no g: with our memory a client that was not heard differs by what it was not
heard of, and catches up from the model it last received. With batch_size = "full" this is MARINA, else VR-MARINA.

Reference: Gorbunov, Burlachenko, Li, Richtarik. MARINA: Faster Non-Convex Distributed Learning with Compression.
ICML 2021 (arXiv 2102.07845), Algorithms 1 and 2, and their code beside DASHA's among Flower's baselines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_ef21.errors import InputError
from fl_ef21.facts import Message, Needs
from fl_ef21.messages import Compressed, whole
from fl_ef21.oracle import Oracle
from fl_ef21.types import Compress, Vector


@dataclass(frozen=True)
class State:
    g: Vector  # the server's estimate of this client's gradient
    x: Vector  # the model last received


@dataclass(frozen=True)
class MARINA:
    """Compressed gradient differences, with whole gradients now and then.

    Attributes:
      omega: the relative variance of C, >= 0.
      p: probability of a round of whole gradients, in (0, 1]; None is 1 / (1 + omega).
    """

    omega: float
    p: float | None = None

    server: ClassVar[str] = "ef21"
    dense_start: ClassVar[bool] = True
    asks: ClassVar[bool] = True
    message: ClassVar[Message] = "either"
    needs: ClassVar[Needs] = "unbiased"
    local: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises: InputError for p outside (0, 1]."""
        if self.p is not None and not 0 < self.p <= 1:
            raise InputError("p", self.p, "must lie in (0, 1]")

    @property
    def passes(self) -> float:
        """How often whole gradients are due."""
        return 1 / (1 + self.omega) if self.p is None else self.p

    @property
    def gradients(self) -> float:
        return 2 * (1 - self.passes)

    def start(self, o: Oracle) -> State:
        return State(g=o.exact(o.x), x=o.here)

    def step(self, s: State, o: Oracle, C: Compress) -> tuple[State, Compressed]:
        if o.common(self.passes):
            g = o.exact(o.x)
            return State(g, o.here), whole(g - s.g)
        c = C(o.at(o.x) - o.at(s.x))
        return State(s.g + c, o.here), c
