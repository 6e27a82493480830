"""A client's g again, from the payloads that the server added: bitwise as the client itself formed it.

g <- g + c         in the state's dtype, one payload after another
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.messages import Indices, whole
from fl_ef21.plan import Plan
from fl_ef21.threads import computing_with


@dataclass(frozen=True)
class Forms:
    """What the messages of one method look like.

    Attributes:
      first: of the first message where that is the first gradient itself, `begins`; and of a whole vector.
      other: of every other one.
    """

    first: wire.Spec
    other: wire.Spec
    begins: bool

    @classmethod
    def of(cls, plan: Plan, dim: int, dense_start: bool) -> Forms:
        """`dense_start`: whether the client half begins with its first gradient if it may."""
        u, key = torch.ones(1, dim, dtype=plan.dtype), torch.zeros(1, dtype=torch.int64)
        spec = replace(wire.Spec.of_any([C(u, key) for C in plan.compressors]), layers=plan.layers)
        if plan.compressor.bits(dim) is None:  # how much is sent depends on u
            spec = replace(spec, most=dim)
        return cls(wire.Spec.of(whole(u)), spec, dense_start and plan.start == "gradient")

    def of_version(self, version: int) -> wire.Spec:
        """Of the message that leads from a client's state of this version to the next."""
        return self.first if self.begins and version == 0 else self.other


def added(g: Tensor, version: int, payloads: Sequence[bytes], forms: Forms) -> Tensor:
    """g (d,), on the CPU, after these payloads, the first of which leads on from `version`; a new tensor.

    Raises: Refused where one cannot be decoded.
    """
    g = g.clone()
    if payloads and forms.of_version(version) is not forms.other:
        g, payloads = _add(g, payloads[:1], forms.of_version(version)), payloads[1:]
    return _add(g, payloads, forms.other) if payloads else g


def _add(g: Tensor, payloads: Sequence[bytes], spec: wire.Spec) -> Tensor:
    with computing_with(1):  # the last bit of a low-rank product may depend on the threads
        c, refused = wire.decode(payloads, spec)
        for why in refused.values():
            raise why
        if not isinstance(c.support, Indices):
            for row in c.dense().to(g.dtype):
                g = g + row
            return g
        # entry after entry, unbuffered: what a client added in one round comes before what it added in the next
        np.add.at(g.numpy(), c.support.flat.numpy(), c.values.real(c.counts).to(g.dtype).numpy())
        return g
