"""Which model each client is sent, and in how many bytes: whole, or the increments since the version it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import bound, randomness, wire
from fl_ef21.blocks import Array
from fl_ef21.broadcast import Broadcast, octets, origin, spec_of
from fl_ef21.commit import Point
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed
from fl_ef21.plan import Plan
from fl_ef21.threads import computing_with
from strategies.ef21_p import EF21P

WHOLE = -1  # instead of a version: the model itself
CANNOT = (ValueError, torch.linalg.LinAlgError, Refused)  # type: ignore[attr-defined]  # a vector without a message


@dataclass(frozen=True)
class Sent:
    """What goes down in one round.

    Attributes:
      clients: (m,) who is asked.
      base: (m,) int64, the version from which on each is sent the increments, WHOLE for the model itself.
      nbytes: (m,) int64, payload bytes of the model to each.
      repairs: (m,) int64, payload bytes of what each lacked; None where nobody lacked anything.
    """

    clients: Array
    base: Array
    nbytes: Array
    repairs: Array | None = None

    def __len__(self) -> int:
        return len(self.clients)

    @property
    def total(self) -> int:
        return int(self.nbytes.sum()) + (0 if self.repairs is None else int(self.repairs.sum()))

    @classmethod
    def whole(cls, clients: Array, nbytes: int) -> Sent:
        """The model itself, in so many bytes, to all."""
        return cls(clients, np.full(len(clients), WHOLE), np.full(len(clients), nbytes, np.int64))


class Downlink(Protocol):
    """How the model goes down. `send`, then what became of it, then `advance`."""

    @property
    def w(self) -> Tensor:
        """(d,), the model that clients differentiate at."""
        ...

    @property
    def model(self) -> Tensor:
        """What is sent as the model as a whole: w, and what clients hear besides."""
        ...

    @property
    def model_bytes(self) -> int:
        """Of that."""
        ...

    def send(self, clients: Array) -> Sent:
        """What these clients are sent in this round."""
        ...

    def measured(self, base: int) -> tuple[float, float]:
        """Bits of the increments since this base, as papers count them and at the least."""
        ...

    def broadcast(self, base: int) -> Broadcast | None:
        """What a client with this base is told; None where models have no versions."""
        ...

    def confirm(self, clients: Array) -> None:
        """They answered from the model of this round, so they have it."""
        ...

    def forget(self, clients: Array) -> None:
        """They have lost what they had."""
        ...

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        """The model has made a step, to x (d,); told (d,) is what clients hear besides."""
        ...

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What it takes to go on, for `restore`."""
        ...

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        """Go on from an image, of a model that is x (d,), with `told` besides."""
        ...


class Uncompressed:
    """The model itself to everybody, every time, and what clients hear besides, if anything."""

    def __init__(self, x: Tensor, whole: int, told: Tensor | None = None) -> None:
        """`whole`: bytes of the model."""
        self.x, self.told, self.model_bytes = x, told, whole

    @property
    def w(self) -> Tensor:
        return self.x

    @property
    def model(self) -> Tensor:
        return self.x if self.told is None else torch.cat([self.x, self.told.to(self.x)])

    def send(self, clients: Array) -> Sent:
        return Sent.whole(clients, self.model_bytes)

    def measured(self, base: int) -> tuple[float, float]:
        return 0.0, 0.0

    def broadcast(self, base: int) -> None:
        return None

    def confirm(self, clients: Array) -> None:
        pass

    def forget(self, clients: Array) -> None:
        pass

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        self.x, self.told = x, told

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {}, {}

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        self.x, self.told = x, told


class Shifted:
    """EF21-P. Past increments are kept as long as all of them weigh less than the model.

    Attributes:
      point: the version that w is.
      log: payloads of the last steps to it.
      held: (n,) int64, the version each client is known to have, WHOLE if none. It may have a later one already.
    """

    def __init__(self, plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes) -> None:
        """`whole`: bytes of the model. plan.downlink must be a contractive compressor."""
        assert plan.downlink is not None
        self.plan, self.C, self.model_bytes = plan, plan.downlink, whole
        self.state = EF21P().start(x.detach().clone()[None])
        self.point, self.log = origin(experiment, x), list[bytes]()
        self._bits = list[tuple[float, float]]()  # of each in the log
        self.held = np.full(clients, WHOLE)
        self._spec = spec_of(self.C, len(x), x.dtype)

    @property
    def w(self) -> Tensor:
        return self.state.w[0]

    @property
    def model(self) -> Tensor:
        return self.w

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

    def advance(self, x: Tensor, round: int, told: Tensor | None = None) -> None:
        """w <- w + C(x - w); or w <- x where the model costs no more than its compressed increment."""
        payload = self._step(x, round) if self.C.alpha(len(x)) != 1 else None
        if payload is None:
            self.state = EF21P().start(x.detach().clone()[None])
            self.point, self.log, self._bits = self.point.then(octets(x)), [], []
            return
        self.point = self.point.then(payload)
        self.log.append(payload)
        while sum(map(len, self.log)) >= self.model_bytes:
            del self.log[0], self._bits[0]

    def image(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        note = {
            "point": [self.point.version, self.point.chain.hex()],
            "log": [payload.hex() for payload in self.log],
            "bits": self._bits,
        }
        return {"w": self.w, "held": torch.from_numpy(self.held)}, note

    def restore(
        self, x: Tensor, tensors: Mapping[str, Tensor], note: Mapping[str, Any], told: Tensor | None = None
    ) -> None:
        self.state = EF21P().start(tensors["w"][None])
        self.held = tensors["held"].numpy().copy()
        self.point = Point(note["point"][0], bytes.fromhex(note["point"][1]))
        self.log = [bytes.fromhex(payload) for payload in note["log"]]
        self._bits = [(counted, least) for counted, least in note["bits"]]

    def _step(self, x: Tensor, round: int) -> bytes | None:
        """The payload of EF21-P's step, which is made; None, and nothing is, where it is too long or there is none.

        There is none where x is no longer finite: the clients must be shown that as it is.
        """
        key = randomness.key(self.plan.seed, "downlink", round=round)
        payloads = list[bytes]()

        def received(u: Tensor) -> Compressed:
            payloads.extend(wire.encode(self.C(u, key)))
            c, refused = wire.decode(payloads, self._spec)
            for why in refused.values():
                raise why
            return c

        try:
            with computing_with(1):
                state, c = EF21P().step(self.state, x[None], received)
        except CANNOT:
            return None
        if len(payloads[0]) >= self.model_bytes:
            return None
        self.state = state
        self._bits.append((float(bound.counted(c, [self.C])[0]), float(bound.bound(c)[0])))
        return payloads[0]


def downlink_of(
    plan: Plan, x: Tensor, clients: int, whole: int, experiment: bytes, told: Tensor | None = None
) -> Downlink:
    """The plan's, at its start. `whole`: bytes of the model x (d,), with `told` (d,) if clients hear that besides."""
    if plan.downlink is None:
        return Uncompressed(x, whole, told)
    return Shifted(plan, x, clients, whole, experiment)


def bases(sent: Sent) -> Iterator[int]:
    """Each distinct base once."""
    yield from np.unique(sent.base).tolist()
