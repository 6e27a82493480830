"""Messages on their way out: computed tile by tile, encoded all at once, staged with what was sent."""

from __future__ import annotations

from typing import NamedTuple

from clients.asked import Answers, Asked
from fl_ef21 import wire
from fl_ef21.commit import Kind
from fl_ef21.messages import Compressed, join
from fl_ef21.state import Rows


class Sent(NamedTuple):
    """A tile's messages c and the clients they are of."""

    rows: Rows
    asked: Asked
    c: Compressed


class Outbox:
    """Collects the messages of many tiles; `seal` encodes them in one call, where each alone would cost ten."""

    def __init__(self) -> None:
        self._waiting: dict[object, list[Sent]] = {}

    def add(self, kind: object, rows: Rows, asked: Asked, c: Compressed) -> None:
        """Messages c of these clients; those of one `kind` have the same form."""
        self._waiting.setdefault(kind, []).append(Sent(rows, asked, c))

    def seal(self, answers: Answers) -> None:
        """Encode everything and stage every state under the payload that leads to it."""
        for parts in self._waiting.values():
            payloads, first = wire.encode(join([part.c for part in parts])), 0
            for rows, asked, _ in parts:
                mine = payloads[first : first + len(asked)]
                first += len(asked)
                at = rows.rows(asked.clients)
                rows.stage(at, *rows.points.then(at, mine))
                answers.say(asked, Kind.UPDATE, mine)
