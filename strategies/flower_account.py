"""What a round cost, client by client and in layers (`fl_ef21.traffic`), and what is no part of a round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from flwr.app import Message
from torch import Tensor

from fl_ef21 import bound, flower_traffic, traffic, wire
from fl_ef21.blocks import Array
from fl_ef21.broadcast import Broadcast
from fl_ef21.plan import Plan
from fl_ef21.traffic import Came, Down, Traffic
from fl_ef21.types import Compressor
from strategies.downlink import WHOLE, Downlink, Sent, bases
from strategies.flower_replies import failed
from strategies.rounds import Heard

LOOKED_AT = 1 << 14  # values of a round that are decoded for their entropy; the others are given the mean
Measured = Array  # (2, m) float64: bits of m messages as papers count them, and at the least


class Account:
    """Counts; where it is not `open`, nothing is counted and nothing is spent on it.

    Attributes:
      asides: wire bytes of enrolment, audits, evaluations by clients and farewells.
      signed: whether every message carries a signature.
    """

    def __init__(self, plan: Plan, dim: int, open: bool) -> None:
        self.plan, self.dim, self.open = plan, dim, open
        self.asides, self.signed = flower_traffic.Cost(0, 0), False

    def down(self, sent: Sent, downlink: Downlink, group: str) -> Down | None:
        """What the invited clients are sent, group being the round as Flower writes it."""
        if not self.open:
            return None
        m = len(sent)
        bits, least, up, back = np.zeros(m), np.zeros(m), np.zeros(m, np.int64), np.zeros(m, np.int64)
        for base in bases(sent):
            rows, told = sent.base == base, downlink.broadcast(base)
            model = downlink.model_bytes if base == WHOLE else None
            cost = flower_traffic.instruction(model, group, increments=_increments(told), signed=self.signed)
            up[rows], back[rows] = cost.up, cost.down
            bits[rows], least[rows] = self._vector(downlink.model) if base == WHOLE else downlink.measured(base)
        extra = 0 if sent.repairs is None else sent.repairs
        return Down(sent.clients, sent.nbytes + extra, bits, least / 8, flower_traffic.Cost(up, back + extra))

    def _vector(self, w: Tensor) -> tuple[float, float]:
        return 32.0 * len(w), bound.vector_bound(w)

    def up(self, payloads: Sequence[bytes], spec: wire.Spec, compressors: Sequence[Compressor]) -> Measured:
        """Of messages of one kind; `compressors`: each one's, or none of first gradients."""
        measured = np.zeros((2, len(payloads)))
        if not self.open or not payloads:
            return measured
        free = any(C.bits(self.dim) is None for C in compressors)  # then only the message itself can say
        step = 1 if free else max(1, len(payloads) * spec.most // LOOKED_AT)
        c, _ = wire.decode(payloads[::step], spec)
        if step == 1:
            return np.stack([bound.counted(c, compressors), bound.bound(c)])
        counts = torch.from_numpy(wire.stated_counts(payloads))
        value = (bound.bound(c) - bound.supports(c)).sum() / max(1, int(c.counts.sum()))
        everyone = replace(c, counts=counts)
        measured[0] = bound.counted(everyone, compressors)
        measured[1] = bound.supports(everyone) + counts.numpy() * value
        return measured

    def round(
        self, number: int, down: Down | None, heard: tuple[Heard, Measured], late: tuple[Heard, Measured],
        replies: Sequence[Message], nodes: Mapping[int, int],
    ) -> Traffic | None:  # fmt: skip
        """The whole round: who was heard and who answered earlier rounds, each as `measured`; `nodes` by client."""
        if down is None:
            return None
        errors = {client: size for client, size in failed(replies, nodes).items() if client in down.clients}
        return traffic.tally(number, down, _came(*heard), errors, _came(*late), signed=self.signed)

    def aside(self, group: str, payloads: Sequence[int], asked: int, model: int | None = None) -> None:
        """So many questions, and answers with payloads of these lengths, that are no part of a round.

        model: bytes of the model that the questions carry.
        """
        if not self.open:
            return
        question = flower_traffic.instruction(model, group, signed=self.signed)
        answers = flower_traffic.replies(payloads, group, self.signed)
        up, down = asked * question.up + int(answers.up.sum()), asked * question.down + int(answers.down.sum())
        self.asides += flower_traffic.Cost(up, down)


def _came(heard: Heard, measured: Measured) -> Came:
    payloads = np.array([len(payload) for payload in heard.payloads], dtype=np.int64)
    return Came(heard.clients, payloads, measured[0], measured[1] / 8)


def _increments(told: Broadcast | None) -> tuple[int, ...] | None:
    """The lengths of what is sent with a version; None without one."""
    return None if told is None else tuple(map(len, told.increments or ()))
