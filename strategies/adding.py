"""sum_i w_i c_i over the messages of a round, and which of them cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_ef21 import wire
from fl_ef21.blocks import Array
from fl_ef21.errors import Refused
from fl_ef21.plan import Plan
from fl_ef21.replay import Forms
from fl_ef21.types import ClientHalf
from strategies.flower_account import Account, Measured
from strategies.guard import Verdict
from strategies.rounds import Heard, groups

Judge = Callable[[Heard, Array], Verdict]  # on messages and their norms


@dataclass(frozen=True)
class Added:
    """What the messages of a round come to.

    Attributes:
      c: (d,) float64, sum_i w_i c_i.
      used: the messages in it.
      refused: why others are not, by place among those heard.
      measured: bits of each message heard.
      norms: |c_i| of each message heard, 0 of what could not be read.
      verdict: on those that could, where they were judged.
    """

    c: Tensor
    used: Heard
    refused: dict[int, Refused]
    measured: Measured
    norms: Array
    verdict: Verdict | None = None


class Adder:
    """Decodes and adds, in client order and in float64.

    Attributes:
      weights: (n,) float64, w_i.
      forms: what messages must look like.
    """

    def __init__(self, plan: Plan, half: type[ClientHalf[Any]], weights: Tensor, dim: int, account: Account) -> None:
        self.plan, self.weights, self.dim, self.account = plan, weights, dim, account
        self.forms = Forms.of(plan, dim, half)

    def add(self, heard: Heard, scale: float) -> Added:
        """`scale` multiplies every weight."""
        total, measured = torch.zeros(self.dim, dtype=torch.float64), np.zeros((2, len(heard)))
        norms = np.zeros(len(heard))
        used, refused = np.ones(len(heard), bool), dict[int, Refused]()
        starting = self.forms.whole(heard.version, heard.payloads)
        for first in (True, False):
            spec = self.forms.first if first else self.forms.other
            for part in groups(np.flatnonzero(starting == first), spec.most):
                weights = self.weights[torch.from_numpy(heard.clients[part])] * scale
                payloads = [heard.payloads[at] for at in part.tolist()]
                length = np.zeros(len(part))
                c, bad = wire.total(payloads, spec, weights, length)
                total += c
                norms[part] = length
                used[part[list(bad)]] = False
                refused |= {int(part[at]): why for at, why in bad.items()}
                compressors = [] if first else self.plan.each(heard.clients[part])
                measured[:, part] = self.account.up(payloads, spec, compressors)
        return Added(total, heard[np.flatnonzero(used)], refused, measured, norms)

    def readable(self, heard: Heard) -> Array:
        """(m,) bool: which messages can be decoded."""
        good = np.ones(len(heard), bool)
        starting = self.forms.whole(heard.version, heard.payloads)
        for spec, which in ((self.forms.first, starting), (self.forms.other, ~starting)):
            for part in groups(np.flatnonzero(which), spec.most):
                _, bad = wire.decode([heard.payloads[at] for at in part.tolist()], spec)
                good[part[list(bad)]] = False
        return good

    def judged(self, heard: Heard, scale: float, judge: Judge) -> Added:
        """As `add`. A round in which somebody is judged to go too far is added again without."""
        added = self.add(heard, scale)
        fine = np.arange(len(heard))
        fine = np.setdiff1d(fine, list(added.refused)) if added.refused else fine
        verdict = judge(heard[fine] if added.refused else heard, added.norms[fine])
        if not verdict.refused:
            return replace(added, verdict=verdict)
        far = {int(fine[at]): why for at, why in verdict.refused.items()}
        again = self.add(heard[np.setdiff1d(fine, list(far))], scale)
        return replace(added, c=again.c, used=again.used, refused=added.refused | far, verdict=verdict)
