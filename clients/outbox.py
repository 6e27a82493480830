"""Messages on their way out: computed tile by tile, encoded all at once, staged with what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fl_ef21 import wire
from fl_ef21.commit import Block, Kind
from fl_ef21.errors import Refused
from fl_ef21.messages import Compressed, join
from fl_ef21.state import Rows

Answer = tuple[bytes, bytes] | Refused  # a packed block and a payload, or why there is none


class Asked(NamedTuple):
    """An instruction: its place among those of the call, its client, the block and the same packed."""

    at: int
    client: int
    block: Block
    packed: bytes


class Outbox:
    """Collects the messages of many tiles; `seal` encodes them in one call, where each alone would cost ten."""

    def __init__(self) -> None:
        self._waiting: dict[object, list[tuple[Rows, Sequence[int], Sequence[Asked], Compressed]]] = {}

    def add(self, kind: object, rows: Rows, at: Sequence[int], asked: Sequence[Asked], c: Compressed) -> None:
        """Messages c of the clients in rows `at`; those of one `kind` have the same form."""
        self._waiting.setdefault(kind, []).append((rows, at, asked, c))

    def seal(self) -> dict[int, Answer]:
        """Encode everything and stage every state under the payload that leads to it."""
        answers: dict[int, Answer] = {}
        for parts in self._waiting.values():
            payloads = iter(wire.encode(join([c for *_, c in parts])))
            for rows, at, asked, _ in parts:
                for row, one in zip(at, asked, strict=True):
                    payload = next(payloads)
                    rows.stage(row, rows.points[row].then(payload))
                    answers[one.at] = (Block.answered(one.packed, Kind.UPDATE), payload)
        return answers
