"""The model goes down in increments: EF21-P's of the model, EF21-BC's of the server's g.

Past increments are kept as long as all of them weigh less than what a client is sent that has nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import bound, randomness, shared_step, wire
from fl_ef21.blocks import Array
from fl_ef21.broadcast import Broadcast, octets, origin, spec_of
from fl_ef21.commit import Point
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed
from fl_ef21.plan import Plan
from fl_ef21.threads import computing_with
from fl_ef21.types import Compress
from strategies.downlink import WHOLE, Downlink, Sent, Uncompressed
from strategies.ef21_bc import EF21BC
from strategies.ef21_p import EF21P

CANNOT = (ValueError, torch.linalg.LinAlgError, Refused)  # type: ignore[attr-defined]  # a vector without a message


class Increments(ABC):
    """Versions of the model, who has which, and what leads from one to the next.

    Attributes:
      point: the version that w is.
      log: payloads of the last steps to it.
      held: (n,) int64, the version each client is known to have, WHOLE if none. It may have a later one already.
    """

    def __init__(self, plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes) -> None:
        """`whole`: bytes of x (d,). plan.downlink must be a contractive compressor."""
        assert plan.downlink is not None
        self.plan, self.C, self._vector_bytes = plan, plan.downlink, whole
        self.point, self.log = origin(experiment, x), list[bytes]()
        self._bits = list[tuple[float, float]]()  # of each in the log
        self.held = np.full(clients, WHOLE)
        self._spec = spec_of(self.C, len(x), x.dtype)

    @property
    @abstractmethod
    def w(self) -> Tensor:
        """See `Downlink`."""

    @property
    def model(self) -> Tensor:
        return self.w

    @property
    def model_bytes(self) -> int:
        return self._vector_bytes

    def send(self, clients: Array) -> Sent:
        held, now = self.held[clients], self.point.version
        base = np.where(held >= now - len(self.log), held, WHOLE)  # the log as a whole is lighter than the model
        last = np.cumsum([0, *map(len, reversed(self.log))])
        nbytes = np.where(base == WHOLE, self.model_bytes, last[np.where(base == WHOLE, 0, now - base)])
        return Sent(clients, base, nbytes)

    def broadcast(self, base: int) -> Broadcast:
        if base == WHOLE:
            return Broadcast(self.point)
        return Broadcast(self.point, tuple(self.log[len(self.log) - (self.point.version - base) :]))

    def measured(self, base: int) -> tuple[float, float]:
        some = self._bits[len(self._bits) - (self.point.version - base) :]
        return sum(counted for counted, _ in some), sum(least for _, least in some)

    def confirm(self, clients: Array) -> None:
        self.held[clients] = self.point.version

    def forget(self, clients: Array) -> None:
        self.held[clients] = WHOLE

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        note = {
            "point": [self.point.version, self.point.chain.hex()],
            "log": [payload.hex() for payload in self.log],
            "bits": self._bits,
        }
        return {"held": torch.from_numpy(self.held)}, note

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        self.held = tensors["held"].numpy().copy()
        self.point = Point(note["point"][0], bytes.fromhex(note["point"][1]))
        self.log = [bytes.fromhex(payload) for payload in note["log"]]
        self._bits = [(counted, least) for counted, least in note["bits"]]

    def _received(self, round: int, payloads: list[bytes]) -> Compress:
        """C as its receivers see it; `payloads` is where it puts what is sent."""
        key = randomness.key(self.plan.seed, "downlink", round=round)

        def received(u: Tensor) -> Compressed:
            payloads.extend(wire.encode(self.C(u, key)))
            c, refused = wire.decode(payloads, self._spec)
            for why in refused.values():
                raise why
            return c

        return received

    def _grow(self, payload: bytes, c: Compressed) -> None:
        """A step to the next version; c is what the payload says."""
        self.point = self.point.then(payload)
        self.log.append(payload)
        self._bits.append((float(bound.counted(c, [self.C])[0]), float(bound.bound(c)[0])))
        while sum(map(len, self.log)) >= self.model_bytes:
            del self.log[0], self._bits[0]

    def _begin_anew(self) -> None:
        """A step to a version that everybody must be sent whole."""
        self.point, self.log, self._bits = self.point.then(octets(self.model)), [], []


class Shifted(Increments):
    """EF21-P: clients hold w, and w <- w + C(x - w)."""

    def __init__(self, plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes) -> None:
        super().__init__(plan, x, clients, whole, experiment)
        self.state = EF21P().start(x.detach().clone()[None])

    @property
    def w(self) -> Tensor:
        return self.state.w[0]

    def heard(self, g: Tensor, gamma: float, round: int) -> Tensor:
        return g

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        """w <- w + C(x - w); or w <- x where the model costs no more than its compressed increment.

        So it is where x is no longer finite: the clients must be shown that as it is.
        """
        if self.C.alpha(len(x)) != 1:
            payloads = list[bytes]()
            with suppress(*CANNOT), computing_with(1):
                state, c = EF21P().step(self.state, x[None], self._received(round, payloads))
                if len(payloads[0]) < self.model_bytes:
                    self.state = state
                    return self._grow(payloads[0], c)
        self.state = EF21P().start(x.detach().clone()[None])
        self._begin_anew()

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, note = super().image()
        return tensors | {"w": self.w}, note

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        super().restore(x, tensors, note)
        self.state = EF21P().start(tensors["w"][None])


class Stepping(Increments):
    """EF21-BC: clients hold x and h, h <- h + C(g - h), and make the step x <- x - gamma h themselves.

    Where there is no such message, or it is as long as both vectors, h <- g and everybody is sent both.
    """

    def __init__(self, plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes) -> None:
        super().__init__(plan, x, clients, whole, experiment)
        self.x = x.detach().clone()
        self.state = EF21BC().start(torch.zeros_like(self.x)[None])
        self._both_bytes = whole + len(x) * x.itemsize
        self._next: tuple[bytes, Compressed] | None = None  # what leads to where `advance` will be

    @property
    def w(self) -> Tensor:
        return self.x

    @property
    def model(self) -> Tensor:
        """x, then h where it is not zero by definition."""
        return self.x if self.point.version == 0 else torch.cat([self.x, self.state.h[0]])

    @property
    def model_bytes(self) -> int:
        return self._vector_bytes if self.point.version == 0 else self._both_bytes

    def heard(self, g: Tensor, gamma: float, round: int) -> Tensor:
        g, payloads = g.to(self.x.dtype), list[bytes]()
        with suppress(*CANNOT), computing_with(1):
            state, b = EF21BC().step(self.state, g[None], self._received(round, payloads))
            payload = shared_step.pack(gamma, payloads[0])
            if len(payload) < self._both_bytes:
                self.state, self._next = state, (payload, b)
                return self.state.h[0]
        self.state, self._next = EF21BC().start(g.clone()[None]), None
        return self.state.h[0]

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        """x must be what `shared_step.stepped` makes of the model before and what was `heard`."""
        self.x = x.detach().clone()
        if self._next is None:
            return self._begin_anew()
        self._grow(*self._next)

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, note = super().image()
        return tensors | {"h": self.state.h[0]}, note

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        super().restore(x, tensors, note)
        self.x, self.state = x.detach().clone(), EF21BC().start(tensors["h"][None])


def downlink_of(
    plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes, told: Tensor | None = None, steps: bool = False
) -> Downlink:
    """The plan's, at its start. `whole`: bytes of the model x (d,), with `told` (d,) if clients hear that besides.

    steps: whether clients make the server's step.
    """
    if plan.downlink is None:
        return Uncompressed(x, whole, told)
    return (Stepping if steps else Shifted)(plan, x, clients, whole, experiment)
