"""Messages on their way out: computed tile by tile, encoded all at once, staged with what was sent."""

from __future__ import annotations

from clients.asked import Answers, Asked
from fl_ef21 import wire
from fl_ef21.arranging import join
from fl_ef21.commit import Kind
from fl_ef21.messages import Compressed
from fl_ef21.state import Rows


class Outbox:
    """Collects the messages of many tiles; `seal` encodes them in one call, where each alone would cost ten."""

    def __init__(self) -> None:
        self._waiting: dict[bool, list[tuple[Asked, Compressed]]] = {}

    def add(self, first: bool, asked: Asked, c: Compressed) -> None:
        """Messages c of these clients; `first` tells first gradients from all others, which have another form."""
        self._waiting.setdefault(first, []).append((asked, c))

    def seal(self, rows: Rows, answers: Answers, layers: wire.Layers = ()) -> None:
        """Encode everything and stage every state under the payload that leads to it; `layers` as for `wire.encode`."""
        for parts in self._waiting.values():
            payloads, begin = wire.encode(join([c for _, c in parts]), layers), 0
            for asked, _ in parts:
                mine = payloads[begin : begin + len(asked)]
                begin += len(asked)
                at = rows.rows(asked.clients)
                rows.stage(at, *rows.points.then(at, mine))
                answers.say(asked, Kind.UPDATE, mine)
