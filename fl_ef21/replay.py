"""A client's g again, from the payloads that the server added: bitwise as the client itself formed it.

g <- g + a c       in the state's dtype, one payload after another; a is 1 but where only a part of c is remembered
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.arranging import added_up
from fl_ef21.blocks import Array
from fl_ef21.facts import Message, facts_of
from fl_ef21.messages import Compressed, Indices, whole
from fl_ef21.plan import Plan
from fl_ef21.threads import computing_with


@dataclass(frozen=True)
class Forms:
    """What the messages of one method look like.

    Attributes:
      first: of the first message where that is the first gradient itself, `begins`; and of a whole vector.
      other: of every other one.
      either: whether every other one may be a whole vector as well, as its own head tells.
      adds: a, how much of a message becomes part of g.
    """

    first: wire.Spec
    other: wire.Spec
    begins: bool
    either: bool = False
    adds: float = 1.0

    @classmethod
    def of(cls, plan: Plan, dim: int, kind: type[Any]) -> Forms:
        """Of the client half `kind`. Raises: TypeError where it would remember but a part of a first gradient."""
        facts, u = facts_of(kind), torch.ones(1, dim, dtype=plan.dtype)
        first = wire.Spec.of(whole(u))
        other = first if facts.message == "whole" else _compressed(plan, facts.message, u)
        begins, adds = facts.dense_start and plan.start == "gradient", getattr(plan.half(kind, 1), "adds", 1.0)
        if begins and adds != 1:
            raise TypeError(f"{kind.__name__} remembers {adds:g} of a message, so it must not start densely")
        return cls(first, other, begins, facts.message == "either", adds)

    def whole(self, version: Array, payloads: Sequence[bytes]) -> Array:
        """(m,) bool: which of these are whole vectors, from the versions (m,) that they lead on from."""
        found: Array = version == 0 if self.begins else np.zeros(len(payloads), bool)
        if self.either:
            head = self.first.head()[:KIND].tobytes()
            found = found | np.array([payload[:KIND] == head for payload in payloads], dtype=bool)
        return found


KIND = 4  # bytes of a payload until its kind has been said


def _compressed(plan: Plan, message: Message, u: Tensor) -> wire.Spec:
    """Of what C returns for u (1, d), a multiple of it, or a sum of several: floats where it is none of C's own."""
    key = torch.zeros(1, dtype=torch.int64)
    examples: list[Compressed] = [C(u, key) for C in plan.compressors]
    if message == "sum":
        examples = [added_up([c, c]) for c in examples]
    elif message == "scaled":
        examples = [1.0 * c for c in examples]
    spec = replace(wire.Spec.of_any(examples), layers=plan.layers)
    free = message == "sum" or plan.compressor.bits(u.shape[1]) is None  # how much is sent depends on u
    return replace(spec, most=u.shape[1]) if free else spec


def added(g: Tensor, version: int, payloads: Sequence[bytes], forms: Forms) -> Tensor:
    """g (d,), on the CPU, after these payloads, the first of which leads on from `version`; a new tensor.

    Raises: Refused where one cannot be decoded.
    """
    g, versions = g.clone(), version + np.arange(len(payloads))
    whole = forms.whole(versions, payloads).tolist()
    for dense, some in groupby(range(len(payloads)), key=lambda at: bool(whole[at])):
        g = _add(g, [payloads[at] for at in some], forms.first if dense else forms.other, forms.adds)
    return g


def _add(g: Tensor, payloads: Sequence[bytes], spec: wire.Spec, adds: float) -> Tensor:
    with computing_with(1):  # the last bit of a low-rank product may depend on the threads
        c, refused = wire.decode(payloads, spec)
        for why in refused.values():
            raise why
        c = c if adds == 1 else adds * c
        if not isinstance(c.support, Indices):
            for row in c.dense().to(g.dtype):
                g = g + row
            return g
        # entry after entry, unbuffered: what a client added in one round comes before what it added in the next
        np.add.at(g.numpy(), c.support.flat.numpy(), c.values.real(c.counts).to(g.dtype).numpy())
        return g
