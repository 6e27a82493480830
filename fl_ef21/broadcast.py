"""What an instruction says of the model: the whole of it, or what it gained since an earlier version.

    w <- w + c         c as its payload says: both sides add the same numbers in the same order

A version of w is a `Point`: how many steps it has made, and a hash chain over them. Who is at any version that the
increments pass through takes those that follow, so that nothing is ever added twice. The rule by which the server
chooses c: strategies/ef21_p.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b

import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.commit import HASH, Point
from fl_ef21.threads import computing_with
from fl_ef21.types import Compressor

NOWHERE = Point(-1, bytes(HASH))  # of who has no model


@dataclass(frozen=True)
class Broadcast:
    """A version of the model, and how to come to it.

    Attributes:
      point: the version that clients are to use.
      increments: payloads of the last steps to it; None where the model itself is sent along.
    """

    point: Point
    increments: tuple[bytes, ...] | None = None

    def since(self, at: Point) -> Sequence[bytes] | None:
        """The increments that lead from there to `point`, none if it is `point`; None where they do not lead there."""
        if at == self.point:
            return ()
        missing, sent = self.point.version - at.version, self.increments or ()
        if at.version < 0 or not 0 < missing <= len(sent):
            return None
        found = sent[-missing:]
        for payload in found:
            at = at.then(payload)
        return found if at == self.point else None


def origin(experiment: bytes, x0: Tensor) -> Point:
    """The version that is x0 (d,), before the first step."""
    return Point(0, blake2b(experiment + b"model" + octets(x0), digest_size=HASH).digest())


def octets(x: Tensor) -> bytes:
    """A model's bytes, for the chain of a step that sent it whole."""
    return x.detach().cpu().numpy().tobytes()


def advanced(w: Tensor, increments: Sequence[bytes], spec: wire.Spec) -> Tensor:
    """w (d,) after these steps, a new tensor if there are any. Raises: Refused where a payload cannot be decoded."""
    tile = w[None]
    with computing_with(1):  # whoever adds: the last bit of a low-rank product may depend on the threads
        for payload in increments:
            c, refused = wire.decode([payload], spec)
            if refused:
                raise refused[0]
            tile = tile + c
    return tile[0]


def spec_of(C: Compressor, dim: int, dtype: torch.dtype) -> wire.Spec:
    """What an increment by C must look like."""
    return _spec_of(C, dim, dtype)  # type: ignore[arg-type]  # compressors are frozen dataclasses, so they have a hash


@lru_cache(maxsize=32)
def _spec_of(C: Compressor, dim: int, dtype: torch.dtype) -> wire.Spec:
    spec = wire.Spec.of(C(torch.ones(1, dim, dtype=dtype), torch.zeros(1, dtype=torch.int64)))
    return replace(spec, most=dim) if C.bits(dim) is None else spec
