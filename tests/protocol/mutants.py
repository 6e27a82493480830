"""The protocol with one of its rules left out. Each takes pytest's monkeypatch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fl_ef21 import blocks
from fl_ef21.blocks import Array, Points
from fl_ef21.errors import Refused
from fl_ef21.state import Rows
from strategies.adding import Added, Adder
from strategies.ledger import Ledger
from strategies.rounds import Heard

Mutant = Callable[[pytest.MonkeyPatch], None]


def no_hash_chain(patch: pytest.MonkeyPatch) -> None:
    """Counts of increments are compared, and what they were is not."""

    def equal(self: Points, rows: Array, version: Array, chain: Array) -> Array:
        return self.version[rows] == version  # type: ignore[no-any-return]

    patch.setattr(Points, "equal", equal)


def no_fencing(patch: pytest.MonkeyPatch) -> None:
    """Clients follow old instructions, and the server takes the reply to any of them."""
    settle, accept = Rows.settle, Ledger.accept

    def forget(self: Rows, rows: Array, version: Array, chain: Array) -> Array:
        self.seen[:] = 0
        return settle(self, rows, version, chain)

    def take(self: Ledger, packed: Sequence[bytes]) -> tuple[Array, dict[int, Refused]]:
        replies, refused = blocks.parse(packed)
        replies = replies.copy()
        known = np.array(
            [at for at in range(len(packed)) if at not in refused and replies["client"][at] < len(self._open)], int
        )
        for name in ("term", "seq", "round"):
            replies[name][known] = self._asked[name][replies["client"][known].astype(np.int64)]
        return accept(self, blocks.pack(replies))

    patch.setattr(Rows, "settle", forget)
    patch.setattr(Ledger, "accept", take)


def no_fencing_of_clients(patch: pytest.MonkeyPatch) -> None:
    """Clients follow old instructions."""
    settle = Rows.settle

    def forget(self: Rows, rows: Array, version: Array, chain: Array) -> Array:
        self.seen[:] = 0
        return settle(self, rows, version, chain)

    patch.setattr(Rows, "settle", forget)


def no_duplicate_check(patch: pytest.MonkeyPatch) -> None:
    """An instruction may be answered twice."""
    accept = Ledger.accept

    def each(self: Ledger, packed: Sequence[bytes]) -> tuple[Array, dict[int, Refused]]:
        refused, before = dict[int, Refused](), self._open.copy()
        for at, one in enumerate(packed):
            self._open[:] = before
            if why := accept(self, [one])[1]:
                refused[at] = why[0]
        return blocks.parse(packed)[0], refused

    patch.setattr(Ledger, "accept", each)


def commit_on_send(patch: pytest.MonkeyPatch) -> None:
    """The client takes what it sends for real."""
    stage, settle = Rows.stage, Rows.settle

    def commit(self: Rows, rows: Array, version: Array, chain: Array) -> None:
        stage(self, rows, version, chain)
        settle(self, rows, version, chain)

    patch.setattr(Rows, "stage", commit)


def commit_on_send_for_good(patch: pytest.MonkeyPatch) -> None:
    """The same, and it computes from that whatever the server holds."""
    commit_on_send(patch)
    patch.setattr(Rows, "settle", lambda self, rows, version, chain: np.ones(len(rows), bool))


def no_base_check(patch: pytest.MonkeyPatch) -> None:
    """A client computes from what it has, whatever the server holds."""
    settle = Rows.settle

    def ready(self: Rows, rows: Array, version: Array, chain: Array) -> Array:
        settle(self, rows, version, chain)
        return np.ones(len(rows), bool)

    patch.setattr(Rows, "settle", ready)


def no_base_check_of_the_server(patch: pytest.MonkeyPatch) -> None:
    """The server does not look at the point that a reply says it was computed from."""
    judge = Ledger._judge

    def blind(self: Ledger, replies: Array, asked: Array, first: Array, refused: dict[int, Refused]) -> None:
        replies = replies.copy()
        updates = replies["kind"] == blocks.Kind.UPDATE
        for name in ("version", "chain"):
            replies[name][updates] = asked[name][updates]
        judge(self, replies, asked, first, refused)

    patch.setattr(Ledger, "_judge", blind)


def float32_sum(patch: pytest.MonkeyPatch) -> None:
    """The server adds in float32."""
    add = Adder.add

    def rounded(self: Adder, heard: Heard, scale: float) -> Added:
        done = add(self, heard, scale)
        return replace(done, c=done.c.to(torch.float32).to(torch.float64))

    patch.setattr(Adder, "add", rounded)
