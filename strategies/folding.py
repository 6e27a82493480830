"""Keeps the ledger on disk short: payloads are folded into each client's g_i where that is smaller."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_ef21.commit import Point
from fl_ef21.replay import Forms, added
from strategies.journal import Journal, Snapshot
from strategies.ledger import Ledger


@dataclass
class _Log:
    """What a client has sent since it began, or since it was folded."""

    start: Point
    g: Tensor
    payloads: list[bytes] = field(default_factory=list)

    def snapshot(self, forms: Forms) -> Snapshot:
        """After all of it."""
        end = self.start
        for payload in self.payloads:
            end = end.then(payload)
        g = added(self.g, self.start.version, self.payloads, forms)
        return Snapshot(end.version, end.chain, g.numpy().tobytes())


def fold(journal: Journal, method: int, round: int, before: int, ledger: Ledger, forms: Forms, like: Tensor) -> int:
    """Where payloads weigh twice what they led to, keep that of `round`, the last one committed, beside them.

    Payloads go once nobody can want them: when `before`, the oldest round that a run may be taken up from, has come to
    what was kept. The rounds themselves, their digests and notes, stay. like: a vector of d numbers as clients keep
    them. Returns the round up to which payloads are gone.

    Raises: Refused where the journal is damaged or the disk is full; it is then as before.
    """
    folded, vectors = journal.folded(method), len(ledger.points.version) * like.nbytes
    if journal.snapshots(method) > folded:  # taken earlier; it serves as soon as `before` has come so far
        return journal.fold(method, round, {}, before)
    if journal.payload_bytes(method, round) < 2 * vectors:
        return folded
    logs = _logs(journal, method, ledger, like)
    return journal.fold(method, round, {client: log.snapshot(forms) for client, log in logs.items()}, before)


def held(journal: Journal, method: int, ledger: Ledger, forms: Forms, like: Tensor) -> dict[int, tuple[Point, Tensor]]:
    """Of every client that has sent something and has not left: where it is, and its g (d,), from the ledger alone."""
    found = dict[int, tuple[Point, Tensor]]()
    for client, log in _logs(journal, method, ledger, like).items():
        one = log.snapshot(forms)
        found[client] = Point(one.version, one.chain), _vector(one.g, like)
    return found


def _logs(journal: Journal, method: int, ledger: Ledger, like: Tensor) -> dict[int, _Log]:
    logs, folded = dict[int, _Log](), journal.folded(method)
    epochs = journal.departures(method, folded)
    for client in range(len(ledger.points.version)) if folded else ():
        if (kept := journal.snapshot(method, client)) is not None:
            logs[client] = _Log(Point(kept.version, kept.chain), _vector(kept.g, like))
    for commit in journal.commits(method, folded):
        for client in commit.left:
            logs.pop(client, None)
            epochs[client] += 1
        for client, payload in zip(commit.clients.tolist(), commit.payloads, strict=True):
            if client not in logs:
                logs[client] = _Log(ledger.origin(client, epochs[client]), torch.zeros_like(like))
            logs[client].payloads.append(payload)
    return logs


def _vector(octets: bytes, like: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(octets), dtype=like.dtype)
